-- The workflow: who may do what, by keys; clocks; what a case's side acts leave behind; facts from which each case can be
-- told anew; photos; cases that came in words, without a class.
create table cases.transition_role (
  from_stage text not null,
  act text not null,
  to_stage text not null,
  role text not null,
  primary key (from_stage, act, to_stage, role),
  foreign key (from_stage, act, to_stage) references cases.transition
);
comment on table cases.transition_role is 'Which role may do what: an event names one of these';
comment on column cases.transition_role.from_stage is 'Where the case stands before';
comment on column cases.transition_role.act is 'What is done';
comment on column cases.transition_role.to_stage is 'Where the case stands afterwards';
comment on column cases.transition_role.role is 'A role that may do it; system: nobody by hand';

insert into cases.transition (from_stage, act, to_stage, roles)
select s.code, 'escalate', s.code, '{system}'::text[] from cases.stage s where not s.is_end and s.code <> 'none'
union all select 'dispatched', 'reckon', 'dispatched', '{system}'
union all
select s.code, 'follow', e.code, '{system}'::text[] from cases.stage s, cases.stage e
where s.code in ('reported', 'verifying', 'accepted', 'filed') and e.is_end;
insert into cases.transition_role (from_stage, act, to_stage, role)
select from_stage, act, to_stage, unnest(roles) from cases.transition;
alter table cases.transition drop column roles;

alter table cases.event
  add column role text,
  add column facts jsonb,
  add column key text,
  add foreign key (from_stage, act, to_stage, role) references cases.transition_role,
  add constraint event_role_check check (role is not null) not valid;
comment on column cases.event.role is 'The role in which the actor did it; null in events older than this column';
comment on column cases.event.facts is 'The columns of cases.case that it changed, with their new values';
comment on column cases.event.key is 'The sender''s own key: the same again is the same act';
create unique index event_key on cases.event (case_no, key) where key is not null;
comment on index cases.event_key is 'An act that was sent twice';

alter table cases.case
  alter column class_code drop not null,
  add column acted_at timestamptz,
  add column clocks jsonb not null default '{}',
  add column clock text check (clock in ('acceptance', 'verification', 'filing', 'dispatch', 'disposal', 'check')),
  add column clock_yellow_at timestamptz not null default 'infinity',
  add column clock_due_at timestamptz not null default 'infinity',
  add column collector_code text,
  add column turn_backs integer not null default 0,
  add column reworks integer not null default 0,
  add column extensions integer not null default 0,
  add column suspensions integer not null default 0,
  add column suspended_until timestamptz,
  add column waits_for text check (waits_for in ('extension', 'suspension', 'void')),
  add column asked_until timestamptz,
  add column forced boolean not null default false,
  add column stood_in boolean not null default false,
  add column appeal text check (appeal in ('asked', 'granted', 'refused')),
  add column same_as bigint,
  add column escalated boolean not null default false,
  add check (class_code is not null or condition_no is null),
  add check (same_as <> no);
comment on column cases.case.class_code is 'Class of the problem; null while a report in words waits for one';
comment on column cases.case.acted_at is 'When its last event was written, UTC';
comment on column cases.case.clocks is 'Its clocks by kind: state, allowed_s, used_s, since; those of units that had it before as disposal:UNIT';
comment on column cases.case.clock is 'The clock that runs; null: none does';
comment on column cases.case.clock_yellow_at is 'When that clock will have used 80 % of its limit, UTC';
comment on column cases.case.clock_due_at is 'When that clock runs out, UTC';
comment on column cases.case.collector_code is 'The collector who is asked to verify or check';
comment on column cases.case.turn_backs is 'How often units turned it back';
comment on column cases.case.reworks is 'How often the check failed or the result was sent back';
comment on column cases.case.extensions is 'Extensions granted';
comment on column cases.case.suspensions is 'Suspensions granted';
comment on column cases.case.suspended_until is 'While it is suspended: until when, UTC';
comment on column cases.case.waits_for is 'What was asked or proposed and not decided yet';
comment on column cases.case.asked_until is 'Until when a suspension was asked for, UTC';
comment on column cases.case.forced is 'The unit was decided after a dispute and may not turn it back';
comment on column cases.case.stood_in is 'A stand-in unit acts; who is responsible is to be found later';
comment on column cases.case.appeal is 'Where the unit''s appeal stands';
comment on column cases.case.same_as is 'The case of the same problem that it is linked to';
comment on column cases.case.escalated is 'Its running clock ran out and that was told';
create index case_queue on cases.case (stage, clock_due_at, no);
comment on index cases.case_queue is 'Desks: what is due first';
create index case_queue_unit on cases.case (unit_id, clock_due_at, no) where stage = 'dispatched';
comment on index cases.case_queue_unit is 'The desk of a unit';
create index case_queue_collector on cases.case (collector_code, clock_due_at, no) where collector_code is not null;
comment on index cases.case_queue_collector is 'The tasks of a collector';
create index case_asked on cases.case (waits_for, clock_due_at, no) where waits_for is not null;
comment on index cases.case_asked is 'What waits for a decision';
create index case_appealed on cases.case (no) where appeal = 'asked';
comment on index cases.case_appealed is 'Appeals that wait for a decision';
create index case_escalated on cases.case (clock_due_at, no) where escalated;
comment on index cases.case_escalated is 'The desk of a leader: what ran out';
create index case_suspended on cases.case (suspended_until) where suspended_until is not null;
comment on index cases.case_suspended is 'wanmi upkeep: suspensions that end';
create index case_followers on cases.case (same_as) where same_as is not null;
comment on index cases.case_followers is 'Cases that are linked to one';
create index case_running on cases.case (clock_due_at) where not escalated and clock is not null;
comment on index cases.case_running is 'wanmi upkeep: clocks that ran out';

alter table cases.report
  add column act text not null default 'report' check (act in ('report', 'self_dispose')),
  add column verified boolean not null default false,
  add column seen_at timestamptz,
  add column dispatched_at timestamptz,
  add column inspected_at timestamptz,
  add column reporter text,
  add column device text;
comment on column cases.report.act is 'report, or self_dispose: the collector removed it on the spot';
comment on column cases.report.verified is 'The collector saw it: no verification is needed';
comment on column cases.report.seen_at is 'When its sender saw the problem, UTC; null: not told';
comment on column cases.report.dispatched_at is 'When a unit got it according to the source, UTC';
comment on column cases.report.inspected_at is 'When it was inspected according to the source, UTC';
comment on column cases.report.reporter is 'Who reported it, for a call back: shown at the acceptor''s desk only';
comment on column cases.report.device is 'The camera that showed it, if one did';

create table cases.photo (
  sha256 text primary key check (sha256 ~ '^[0-9a-f]{64}$'),
  media_type text not null,
  width integer not null,
  height integer not null,
  bytes integer not null,
  taken_at timestamptz,
  lon double precision,
  lat double precision,
  uploaded_by text not null,
  uploaded_at timestamptz not null default clock_timestamp()
);
comment on table cases.photo is 'Photos in the store, by the hash of their content; what no event names is swept away after some hours';
comment on column cases.photo.sha256 is 'SHA-256 of the content as received: its name in the store';
comment on column cases.photo.media_type is 'Its format as received';
comment on column cases.photo.width is 'Pixels across';
comment on column cases.photo.height is 'Pixels down';
comment on column cases.photo.bytes is 'Size as received';
comment on column cases.photo.taken_at is 'When it was taken according to the camera, UTC; null: it does not say';
comment on column cases.photo.lon is 'Where it was taken according to the camera, degrees east; null: it does not say';
comment on column cases.photo.lat is 'Where it was taken according to the camera, degrees north';
comment on column cases.photo.uploaded_by is 'The account that sent it first';
comment on column cases.photo.uploaded_at is 'When it was sent last, UTC';

create table cases.attachment (
  case_no bigint not null,
  seq integer not null,
  n integer not null check (n > 0),
  kind text not null check (kind in ('before', 'after', 'check', 'other')),
  sha256 text not null references cases.photo,
  distance_m double precision,
  primary key (case_no, seq, n),
  foreign key (case_no, seq) references cases.event
);
comment on table cases.attachment is 'The photos that an event brought';
comment on column cases.attachment.case_no is 'The case';
comment on column cases.attachment.seq is 'The event that brought it';
comment on column cases.attachment.n is 'Its place among the photos of the event, from 1';
comment on column cases.attachment.kind is 'before, after, at the check, or other';
comment on column cases.attachment.sha256 is 'The photo';
comment on column cases.attachment.distance_m is 'Metres from where the camera says it was taken to the case; null: it does not say';
create index attachment_photo on cases.attachment (sha256);
comment on index cases.attachment_photo is 'Whether an event names a photo';
comment on column layers.account.roles is 'What the person may do, see cases.transition_role; a channel has the one role channel';
-- open_case has got further arguments.
drop function if exists cases.open_case(text, text, text, integer, text, double precision, double precision, integer, geometry,
  double precision, text, text, text, text, text);
