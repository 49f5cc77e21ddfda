create schema cases;
comment on schema cases is 'What happened, who must act, by when';

-- ── responsibility ──────────────────────────────────────────────────────────────────────────────────────────
create table cases.rule (
  id bigint generated always as identity primary key,
  code text not null,
  class_prefix text not null default '' check (class_prefix ~ '^([CE]([0-9]{2}([0-9]{2,3})?)?)?$'),
  condition_no integer,
  area_prefix text not null default '' check (area_prefix ~ '^[0-9]*$'),
  zone geometry(MultiPolygon, :srid),
  source_document text not null check (source_document <> ''),
  source_on date,
  valid tstzrange not null check (not isempty(valid)),
  change_id bigint not null references gis.change,
  exclude using gist (code with =, valid with &&)
);
comment on table cases.rule is 'Rules of responsibility (属地管理) through time: (class, condition, area) or a zone → ordered roles';
comment on column cases.rule.id is 'Number of this version';
comment on column cases.rule.code is 'Code of the rule, the city''s own; between equals the lowest code wins';
comment on column cases.rule.class_prefix is 'Empty: any class; C or E: a kind; C01: a major class; C0101: a class';
comment on column cases.rule.condition_no is 'Number of the filing condition it is for; null: any';
comment on column cases.rule.area_prefix is 'Empty: anywhere; else the code of an area or cell';
comment on column cases.rule.zone is 'Responsibility red line (责任红线), if the rule holds by polygon';
comment on column cases.rule.source_document is 'The document it rests on';
comment on column cases.rule.source_on is 'Date of that document, if known';
comment on column cases.rule.valid is 'From when to when this version held';
comment on column cases.rule.change_id is 'The change that made this version';
create index rule_now on cases.rule (class_prefix, area_prefix) where upper_inf(valid) and zone is null;
comment on index cases.rule_now is 'cases.assign: candidates by equality of prefixes';
create index rule_zone_now on cases.rule using gist (zone) where upper_inf(valid) and zone is not null;
comment on index cases.rule_zone_now is 'cases.assign: the zones that a place lies in';

create table cases.rule_role (
  rule_id bigint not null references cases.rule on delete cascade,
  rank integer not null check (rank > 0),
  resolved_by text not null check (resolved_by in ('unit', 'maintainer', 'owner', 'cell', 'community', 'street', 'district')),
  unit_id bigint references layers.unit,
  primary key (rule_id, rank),
  check ((resolved_by = 'unit') = (unit_id is not null))
);
comment on table cases.rule_role is 'The roles of a rule in order: the first that resolves to a unit leads, the others assist';
comment on column cases.rule_role.rule_id is 'The version of the rule';
comment on column cases.rule_role.rank is 'Place in the order, from 1';
comment on column cases.rule_role.resolved_by is 'unit: fixed; maintainer, owner: of the component; cell, community, street, district: body of that area';
comment on column cases.rule_role.unit_id is 'The fixed unit; null for every other key';

-- ── the table of what may happen ────────────────────────────────────────────────────────────────────────────
create table cases.stage (
  code text primary key,
  name_zh text not null,
  name_en text not null,
  is_end boolean not null default false
);
comment on table cases.stage is 'The states of a case; ''none'' is before its first event';
comment on column cases.stage.code is 'The stage, as events and cases name it';
comment on column cases.stage.name_zh is 'Name in Chinese';
comment on column cases.stage.name_en is 'Name in English';
comment on column cases.stage.is_end is 'True: no act leads from here to another stage';
insert into cases.stage (code, name_zh, name_en, is_end) values
  ('none', '（未建立）', 'none', false),
  ('reported', '已上报', 'reported', false),
  ('verifying', '核实中', 'being verified', false),
  ('accepted', '已受理', 'accepted', false),
  ('filed', '已立案', 'filed', false),
  ('dispatched', '已派遣', 'dispatched', false),
  ('disposed', '已处理', 'disposed of', false),
  ('awaiting_check', '待核查', 'awaiting check', false),
  ('checking', '核查中', 'being checked', false),
  ('checked', '已核查', 'checked', false),
  ('self_disposed', '已自处理', 'self-disposed', false),
  ('closed', '已结案', 'closed', true),
  ('refused', '不予受理', 'refused', true),
  ('void', '作废', 'void', true);

create table cases.transition (
  from_stage text not null references cases.stage,
  act text not null,
  to_stage text not null references cases.stage,
  roles text[] not null check (cardinality(roles) > 0),
  primary key (from_stage, act, to_stage)
);
comment on table cases.transition is 'All moves and acts that are allowed, and the roles that may make them';
comment on column cases.transition.from_stage is 'Where the case stands before; none: it does not exist yet';
comment on column cases.transition.act is 'What is done';
comment on column cases.transition.to_stage is 'Where the case stands afterwards; the same for acts that leave the stage as it is';
comment on column cases.transition.roles is 'Who may do it: one of these roles';
insert into cases.transition (from_stage, act, to_stage, roles) values
  ('none', 'report', 'reported', '{collector,leader,channel}'),
  ('none', 'self_dispose', 'self_disposed', '{collector}'),
  ('self_disposed', 'close', 'closed', '{duty_chief}'),
  ('self_disposed', 'refuse', 'refused', '{acceptor}'),
  ('reported', 'ask_verification', 'verifying', '{acceptor}'),
  ('verifying', 'verify', 'reported', '{collector}'),
  ('verifying', 'recall', 'reported', '{acceptor}'),
  ('reported', 'accept', 'accepted', '{acceptor}'),
  ('reported', 'refuse', 'refused', '{acceptor}'),
  ('accepted', 'file', 'filed', '{duty_chief}'),
  ('accepted', 'hand_back', 'reported', '{duty_chief}'),
  ('filed', 'dispatch', 'dispatched', '{dispatcher}'),
  ('filed', 'hand_back', 'accepted', '{dispatcher}'),
  ('dispatched', 'turn_back', 'filed', '{unit}'),
  ('dispatched', 'recall', 'filed', '{dispatcher}'),
  ('dispatched', 'delegate', 'dispatched', '{district_dispatcher}'),
  ('dispatched', 'dispose', 'disposed', '{unit}'),
  ('disposed', 'feed_back', 'awaiting_check', '{dispatcher}'),
  ('disposed', 'redo', 'dispatched', '{dispatcher}'),
  ('awaiting_check', 'ask_check', 'checking', '{acceptor}'),
  ('awaiting_check', 'hand_back', 'disposed', '{acceptor}'),
  ('checking', 'report_check', 'checked', '{collector}'),
  ('checking', 'recall', 'awaiting_check', '{acceptor}'),
  ('checked', 'close', 'closed', '{duty_chief}'),
  ('checked', 'fail', 'filed', '{duty_chief}'),
  ('checked', 'hand_back', 'awaiting_check', '{duty_chief}'),
  ('reported', 'void', 'void', '{duty_chief}'),
  ('accepted', 'void', 'void', '{duty_chief}'),
  ('filed', 'void', 'void', '{duty_chief}'),
  ('reported', 'correct', 'reported', '{acceptor}'),
  ('verifying', 'correct', 'verifying', '{acceptor}'),
  ('accepted', 'correct', 'accepted', '{acceptor}'),
  ('filed', 'correct', 'filed', '{dispatcher}'),
  ('dispatched', 'correct', 'dispatched', '{dispatcher}'),
  ('verifying', 'reassign', 'verifying', '{acceptor}'),
  ('checking', 'reassign', 'checking', '{acceptor}'),
  ('dispatched', 'ask_extension', 'dispatched', '{unit}'),
  ('dispatched', 'grant_extension', 'dispatched', '{dispatcher}'),
  ('dispatched', 'refuse_extension', 'dispatched', '{dispatcher}'),
  ('dispatched', 'ask_suspension', 'dispatched', '{unit}'),
  ('dispatched', 'grant_suspension', 'dispatched', '{dispatcher}'),
  ('dispatched', 'refuse_suspension', 'dispatched', '{dispatcher}'),
  ('dispatched', 'resume', 'dispatched', '{system}'),
  ('filed', 'decide_unit', 'filed', '{dispatcher}'),
  ('reported', 'propose_void', 'reported', '{acceptor}'),
  ('accepted', 'propose_void', 'accepted', '{acceptor}'),
  ('filed', 'propose_void', 'filed', '{acceptor}'),
  ('closed', 'appeal', 'closed', '{unit}'),
  ('closed', 'grant_appeal', 'closed', '{duty_chief}'),
  ('closed', 'refuse_appeal', 'closed', '{duty_chief}'),
  ('filed', 'stand_in', 'filed', '{dispatcher}'),
  ('dispatched', 'stand_in', 'dispatched', '{dispatcher}');
-- Acts that any stage but an end knows.
insert into cases.transition (from_stage, act, to_stage, roles)
select stage.code, act.name, stage.code, act.roles
from cases.stage, (values
  ('supervise', '{leader,acceptor,duty_chief,dispatcher}'::text[]),
  ('attach', '{collector,acceptor,duty_chief,dispatcher,unit}'),
  ('link', '{acceptor}'),
  ('unlink', '{acceptor}'),
  ('assign', '{system}')) as act (name, roles)
where not stage.is_end and stage.code <> 'none';
-- History from another system may stand at any stage; its missing steps are not made up.
insert into cases.transition (from_stage, act, to_stage, roles)
select 'none', 'import', code, '{administrator}'::text[] from cases.stage where code <> 'none'
union all
select code, 'import', code, '{administrator}'::text[] from cases.stage where code <> 'none';

-- ── what was received ───────────────────────────────────────────────────────────────────────────────────────
create table cases.report (
  id bigint generated always as identity primary key,
  channel text not null check (channel in ('collector', 'public', 'video', 'leader', 'web', 'other')),
  key text not null check (key <> ''),
  class_code text,
  condition_no integer,
  component_code text,
  x double precision,
  y double precision,
  srid integer,
  accuracy_m double precision,
  geom geometry(Point, :srid),
  address text,
  description text,
  reported_at timestamptz,
  due_at timestamptz,
  disposed_at timestamptz,
  closed_at timestamptz,
  stage text not null references cases.stage,
  note text,
  unit_label text,
  area_label text,
  data_source text not null,
  received_at timestamptz not null default clock_timestamp(),
  case_no bigint,
  refusal text,
  refusal_en text,
  refusal_zh text,
  unique (channel, key),
  check (case_no is null or refusal is null)
);
comment on table cases.report is 'Reports as received, word for word; each becomes one case or is refused with the reason';
comment on column cases.report.id is 'Number of the report';
comment on column cases.report.channel is 'Who sent it: collector, public (hotline), video, leader, web, other';
comment on column cases.report.key is 'The sender''s own key: receiving it again changes nothing';
comment on column cases.report.class_code is 'Class as received, also where the catalogue has none such';
comment on column cases.report.condition_no is 'Number of the filing condition as received';
comment on column cases.report.component_code is 'Code of the component as received';
comment on column cases.report.x is 'East or longitude as received, in the system srid';
comment on column cases.report.y is 'North or latitude as received, in the system srid';
comment on column cases.report.srid is 'EPSG code as received; 910002 GCJ-02, 910009 BD-09';
comment on column cases.report.accuracy_m is 'Error of the position that the sender states, metres';
comment on column cases.report.geom is 'The place in the city''s system, snapped to 2^-10 m; null where the numbers are no place';
comment on column cases.report.address is 'Address as received';
comment on column cases.report.description is 'What was reported, in words';
comment on column cases.report.reported_at is 'When the problem was reported, UTC';
comment on column cases.report.due_at is 'When disposal was due according to the source, UTC';
comment on column cases.report.disposed_at is 'When it was disposed of according to the source, UTC';
comment on column cases.report.closed_at is 'When it was closed according to the source, UTC';
comment on column cases.report.stage is 'The stage it had reached when it was received';
comment on column cases.report.note is 'Remark of the source';
comment on column cases.report.unit_label is 'The unit that handled it, if the source says so: to compare with, never to assign by';
comment on column cases.report.area_label is 'The area that the source claims: to compare with, never to assign by';
comment on column cases.report.data_source is 'Where the report comes from';
comment on column cases.report.received_at is 'When this system received it, UTC';
comment on column cases.report.case_no is 'The case that it became; null while it waits or when it was refused';
comment on column cases.report.refusal is 'Why no case was opened: outside, no_place, unknown_class, unknown_condition, no_time';
comment on column cases.report.refusal_en is 'The reason of the refusal in English';
comment on column cases.report.refusal_zh is 'The reason of the refusal in Chinese';
create index report_pending on cases.report (id) where case_no is null and refusal is null;
comment on index cases.report_pending is 'cases.open_reports: what still waits';
create unique index report_of_case on cases.report (case_no);
comment on index cases.report_of_case is 'The report of a case';

-- ── cases and events ────────────────────────────────────────────────────────────────────────────────────────
create sequence cases.serial as integer minvalue 0 maxvalue 999999 start 1 cycle;
comment on sequence cases.serial is 'Last six digits of case numbers; gaps are allowed; unique within a day up to a million cases';

create table cases.case (
  no bigint not null check (no between 19000101000000 and 29991231999999),
  channel text not null check (channel in ('collector', 'public', 'video', 'leader', 'web', 'other')),
  edition text not null,
  class_code text not null,
  condition_no integer,
  component_code text,
  geom geometry(Point, :srid) not null,
  accuracy_m double precision check (accuracy_m >= 0),
  address text,
  description text,
  reported_at timestamptz not null,
  due_at timestamptz,
  disposed_at timestamptz,
  closed_at timestamptz,
  stage text not null references cases.stage check (stage <> 'none'),
  last_seq integer not null,
  cell_id bigint not null references grids.cell,
  placed text not null check (placed in ('inside', 'nearest')),
  placed_m double precision not null default 0,
  border_m double precision,
  border_code text,
  component_m double precision check (component_m >= 0),
  unit_id bigint references layers.unit,
  assisting_ids bigint[] not null default '{}',
  basis text not null check (basis in ('component', 'rule', 'zone', 'territory', 'nobody')),
  resolved_by text check (resolved_by in ('unit', 'maintainer', 'owner', 'cell', 'community', 'street', 'district')),
  rule_id bigint references cases.rule,
  data_source text not null,
  primary key (no),
  foreign key (edition, class_code) references layers.class (edition, code),
  foreign key (edition, class_code, condition_no) references layers.condition (edition, class_code, no),
  check ((unit_id is null) = (basis = 'nobody')),
  check ((border_m is null) = (border_code is null))
) partition by range (no);
comment on table cases.case is 'Cases (案卷): a promise with a clock. no = yyyymmdd × 10⁶ + serial, the date is the city''s';
comment on column cases.case.no is 'Number: date × 10^6 + serial; the partition is in its first four digits';
comment on column cases.case.channel is 'Who sent the report: collector, public (hotline), video, leader, web, other';
comment on column cases.case.edition is 'Edition of the catalogue that class_code is from';
comment on column cases.case.class_code is 'Class of the problem';
comment on column cases.case.condition_no is 'Number of the filing condition; null when not known';
comment on column cases.case.component_code is 'Code of the component that the report names, if any';
comment on column cases.case.geom is 'The place in the city''s projected system, metres, snapped to 2^-10 m';
comment on column cases.case.accuracy_m is 'Error of the position that the sender states, metres';
comment on column cases.case.address is 'Address in words';
comment on column cases.case.description is 'What was reported, in words';
comment on column cases.case.reported_at is 'When the problem was reported, UTC';
comment on column cases.case.due_at is 'When disposal is due, UTC; null when not known';
comment on column cases.case.disposed_at is 'When it was disposed of, UTC; null when it was not, or not known';
comment on column cases.case.closed_at is 'When it was closed, UTC; null when it was not, or not known';
comment on column cases.case.stage is 'Where it stands: the to_stage of its last event';
comment on column cases.case.last_seq is 'Number of its last event';
comment on column cases.case.cell_id is 'The version of the cell it fell into: a redrawn grid never rewrites the past';
comment on column cases.case.placed is 'inside: a cell covers the place; nearest: none does, the nearest within the city''s tolerance';
comment on column cases.case.placed_m is 'Metres to that nearest cell, 0 inside';
comment on column cases.case.border_m is 'Metres to another community, when within the city''s border tolerance; else null';
comment on column cases.case.component_m is 'Metres from the place to the component that the report names; null when it names none that is known';
comment on column cases.case.border_code is 'The cell across that border';
comment on column cases.case.unit_id is 'The responsible unit, the one that leads; null: nobody found';
comment on column cases.case.assisting_ids is 'Units that assist (协办), ids of layers.unit';
comment on column cases.case.basis is 'Why this unit: the component''s maintainer or owner, a rule, a zone, the territory, or nobody found';
comment on column cases.case.resolved_by is 'By which key the unit was found: fixed unit, attribute of the component, or body of an area';
comment on column cases.case.rule_id is 'The version of the rule that found the unit, if a rule did';
comment on column cases.case.data_source is 'Where the report comes from';

create table cases.event (
  case_no bigint not null,
  seq integer not null check (seq > 0),
  previous_seq integer generated always as (nullif(seq - 1, 0)) stored,
  at timestamptz not null default clock_timestamp(),
  actor text not null check (actor <> ''),
  from_stage text not null,
  act text not null,
  to_stage text not null,
  note text,
  unit_id bigint references layers.unit,
  assisting_ids bigint[],
  basis text,
  resolved_by text,
  rule_id bigint references cases.rule,
  worked interval,
  data jsonb,
  primary key (case_no, seq),
  unique (case_no, seq, to_stage),
  foreign key (from_stage, act, to_stage) references cases.transition,
  foreign key (case_no, previous_seq, from_stage) references cases.event (case_no, seq, to_stage),
  check ((seq = 1) = (from_stage = 'none'))
) partition by range (case_no);
comment on table cases.event is 'Everything that happened to a case, append-only; each event begins at the stage where the one before ended';
comment on column cases.event.case_no is 'The case';
comment on column cases.event.seq is 'Number of the event within its case, from 1 without gaps';
comment on column cases.event.previous_seq is 'Number of the event before; null for the first';
comment on column cases.event.at is 'When it was written, UTC';
comment on column cases.event.actor is 'Who did it: an account, or the command that did';
comment on column cases.event.from_stage is 'Where the case stood before';
comment on column cases.event.act is 'What was done';
comment on column cases.event.to_stage is 'Where the case stood afterwards';
comment on column cases.event.note is 'Reason or remark in words';
comment on column cases.event.unit_id is 'The responsible unit from this event on, if the event attaches one';
comment on column cases.event.assisting_ids is 'The assisting units from this event on, ids of layers.unit';
comment on column cases.event.basis is 'Why this unit, see cases.case.basis';
comment on column cases.event.resolved_by is 'By which key it was found, see cases.case.resolved_by';
comment on column cases.event.rule_id is 'The version of the rule that found it, if a rule did';
comment on column cases.event.worked is 'Working time since the event before';
comment on column cases.event.data is 'What the act brought: imported times, corrected values, task of a collector';

alter table cases.case add foreign key (no, last_seq, stage) references cases.event (case_no, seq, to_stage)
  deferrable initially deferred;
alter table cases.event add foreign key (case_no) references cases.case (no) deferrable initially deferred;
alter table cases.report add foreign key (case_no) references cases.case (no);

create index case_cell on cases.case (cell_id, reported_at);
comment on index cases.case_cell is 'Counts and lists of cases by cell and period';
create index case_unit on cases.case (unit_id, stage);
comment on index cases.case_unit is 'The queue of a unit';
create index case_reported on cases.case (reported_at);
comment on index cases.case_reported is 'Cases of a period: heat, summaries';

create function cases.refuse_rewriting() returns trigger language plpgsql as $$
begin
  raise exception 'events are append-only | 事件只能追加,不可更改' using errcode = 'WM409';
end $$;
comment on function cases.refuse_rewriting is 'Keeps cases.event append-only';
create trigger append_only before update or delete on cases.event
  for each row execute function cases.refuse_rewriting();
