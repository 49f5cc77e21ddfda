-- Rules through time: who ended a version, and what held at a past instant.
alter table cases.rule add column ended_change_id bigint references gis.change;
comment on column cases.rule.ended_change_id is 'The change that ended this version; null while it holds, and for what was ended before this was kept';
create index rule_then on cases.rule (class_prefix, area_prefix) where not upper_inf(valid) and zone is null;
comment on index cases.rule_then is 'cases.assign at a past instant: candidates by equality of prefixes';
create index rule_zone_then on cases.rule using gist (zone) where not upper_inf(valid) and zone is not null;
comment on index cases.rule_zone_then is 'cases.assign at a past instant: the zones that a place lay in';
-- assign has got the reach of each place and the instant.
drop function if exists cases.assign(geometry[], text[], integer[], text[]);

-- A dispatcher decides for another unit than was proposed. The rule stays named: it is the one that was overruled.
alter table cases.case drop constraint case_basis_check, add constraint case_basis_check
  check (basis in ('component', 'rule', 'zone', 'territory', 'nobody', 'decision'));
insert into cases.transition (from_stage, act, to_stage, roles)
select code, 'choose_unit', code, '{dispatcher}'::text[] from cases.stage
where code in ('reported', 'verifying', 'accepted', 'filed');
create index event_decision on cases.event (rule_id) where basis = 'decision';
comment on index cases.event_decision is 'wanmi rules review: the decisions against each rule';
