-- name: rule_ids
select code, id from cases.rule where upper_inf(valid);

-- name: stage_reports
drop table if exists pg_temp.staged_report;
create temporary table staged_report (like cases.report including defaults) on commit drop;
alter table staged_report drop column id;

-- name: keep_reports
insert into cases.report (channel, key, class_code, condition_no, component_code, x, y, srid, accuracy_m, geom, address,
  description, reported_at, due_at, dispatched_at, inspected_at, disposed_at, closed_at, stage, note, unit_label, area_label, data_source)
select channel, key, class_code, condition_no, component_code, x, y, srid, accuracy_m, geom, address,
  description, reported_at, due_at, dispatched_at, inspected_at, disposed_at, closed_at, stage, note, unit_label, area_label, data_source
from staged_report on conflict (channel, key) do nothing;

-- name: reports_waiting
select count(*) from cases.report where case_no is null and refusal is null;

-- name: open_reports
select opened, refused from cases.open_reports(:batch, :actor, :edition);

-- name: ensure_partitions
select cases.ensure_partition(y) from generate_series(
  (select extract(year from min(reported_at) - interval '1 day')::integer from cases.report where case_no is null),
  (select extract(year from max(reported_at) + interval '1 day')::integer from cases.report where case_no is null)) y;

-- name: ensure_partition_of_today
select cases.ensure_partition(extract(year from clock_timestamp())::integer + k) from generate_series(0, 1) k;

-- name: counts_of_rules
select count(*) as rules, count(zone) as zones from cases.rule where upper_inf(valid);

-- name: counts_of_cases
select count(*) as cases, count(unit_id) as with_unit, count(border_m) as near_border,
  count(*) filter (where placed = 'nearest') as nearest, count(*) filter (where due_at is not null) as with_due,
  count(*) filter (where coalesce(disposed_at, closed_at) > due_at) as late,
  count(*) filter (where due_at < last.at and disposed_at is null and closed_at is null and not s.is_end) as open_late,
  count(*) filter (where component_m > :far_m) as far_from_component,
  min(reported_at) as first_at, max(reported_at) as last_at
from cases.case c join cases.stage s on s.code = c.stage,
  (select max(reported_at) filter (where due_at is not null) as at from cases.case) last;  -- not of what came in since

-- name: period_of_cases
select min(reported_at) as first_at, max(reported_at) as last_at from cases.case;

-- name: busy_until
-- The last day of the last week that is not nearly empty (a tenth of the mean week): one late report does not move it.
with days as (
  select (reported_at at time zone :timezone)::date as day, count(*) as n from cases.case group by 1),
weeks as (
  select day, sum(n) over (order by day range between interval '6 days' preceding and current row) as n from days)
select max(day) from weeks
where n >= (select 0.1 * sum(n) / greatest((max(day) - min(day) + 1) / 7.0, 1) from days);

-- name: counts_by_stage
select s.code, s.name_zh, s.name_en, s.is_end, count(*) as cases from cases.case c join cases.stage s on s.code = c.stage
group by s.code, s.name_zh, s.name_en, s.is_end order by s.is_end desc, 5 desc;

-- name: counts_by_basis
select basis, resolved_by, count(*) as cases from cases.case group by basis, resolved_by order by 3 desc;

-- name: refused_reports
select refusal, count(*) as reports from cases.report where refusal is not null group by refusal order by 2 desc;

-- name: unassigned
select r.channel, r.key, r.case_no, r.class_code, r.condition_no, r.x, r.y, r.srid,
  r.reported_at at time zone (select timezone from grids.city) as reported_local,
  coalesce(r.refusal, 'no_unit') as reason,
  coalesce(r.refusal_en, 'no responsible body was found; it waits for the dispatcher') as reason_en,
  coalesce(r.refusal_zh, '未找到责任主体,等待派遣员判定') as reason_zh, r.address, r.note, r.data_source
from cases.report r left join cases.case c on c.no = r.case_no
where r.refusal is not null or (r.case_no is not null and c.unit_id is null) or (r.case_no is null)
order by r.refusal, r.channel, r.key;

-- name: agreement_of_areas
select count(*) as labelled, count(*) filter (where left(k.community_code, length(r.area_label)) = r.area_label) as agreeing
from cases.report r join cases.case c on c.no = r.case_no join grids.cell k on k.id = c.cell_id
where r.area_label is not null;

-- name: agreement_of_units
select count(*) as labelled, count(*) filter (where u.code = r.unit_label) as agreeing
from cases.report r join cases.case c on c.no = r.case_no left join layers.unit u on u.id = c.unit_id
where r.unit_label is not null;

-- name: hottest_cells
select k.code, count(*) as cases, a.name_zh, a.name_en, s.name_zh as street_zh, s.name_en as street_en, k.area_m2, k.geom
from cases.case c
join grids.cell k on k.id = c.cell_id
left join grids.area a on a.code = k.community_code and upper_inf(a.valid)
left join grids.area s on s.code = left(k.community_code, 9) and upper_inf(s.valid)
group by k.id, k.code, a.name_zh, a.name_en, s.name_zh, s.name_en, k.area_m2, k.geom
order by count(*) desc, k.code limit :most;

-- name: points_of_cases
select st_x(geom) as x, st_y(geom) as y from cases.case order by no;

-- name: locate
select answers, areas, units, problem, around, places from cases.jurisdiction(
  st_snaptogrid(st_setsrid(st_makepoint(:x, :y), :srid), 1.0 / 1024), :class_code, :condition_no, :component_code, :accuracy_m,
  :at, :around, :similar_class, :component_class, :within_m, :similar_m, :days, :unit_ids, :most);

-- name: zones_claiming
-- Rules of zones that claim a place with equal right, and whom each means there; one whose unit is no more claims nothing.
select r.code as rule_code, r.source_document, r.source_on, w.unit_id
from cases.rule r
cross join (
  select max(u.id) filter (where u.area_code = :cell_code) as cell,
    max(u.id) filter (where u.area_code = left(:cell_code, 12)) as community,
    max(u.id) filter (where u.area_code = left(:cell_code, 9)) as street,
    max(u.id) filter (where u.area_code = left(:cell_code, 6)) as district
  from layers.unit u where u.area_code = any (grids.area_prefixes(:cell_code))
    and coalesce(u.founded_at <= coalesce(cast(:at as timestamptz), statement_timestamp()), true)
    and coalesce(u.dissolved_at > coalesce(cast(:at as timestamptz), statement_timestamp()), true)) b
cross join lateral (
  select u.id as unit_id from cases.rule_role rr
  join layers.unit u on u.id = cases.resolve(rr, null, null, b.cell, b.community, b.street, b.district)
    and coalesce(u.founded_at <= coalesce(cast(:at as timestamptz), statement_timestamp()), true)
    and coalesce(u.dissolved_at > coalesce(cast(:at as timestamptz), statement_timestamp()), true)
  where rr.rule_id = r.id order by rr.rank limit 1) w
where r.id = any (cast(:ids as bigint[])) order by r.code;

-- name: open_case
select * from cases.open_case(cast(:report as jsonb),
  st_snaptogrid(st_setsrid(st_makepoint(:city_x, :city_y), cast(:city_srid as integer)), 1.0 / 1024), :actor,
  :role, layers.edition_at(null), :acceptance_s, cast(:photos as jsonb));

-- name: read_case
select * from cases.read(:no, :unit_ids);

-- name: similar_cases
select no, distance_m, reported_at, stage from cases.alike(:no, :within_m, :days, :most);

-- name: find_cases
select 'case' as kind, c.no::text as code, l.name_zh as title_zh, l.name_en as title_en,
  st_transform(c.geom, 4326) as point, st_transform(c.geom, 4326) as box
from cases.case c left join layers.class l on l.edition = c.edition and l.code = c.class_code
where c.no between :low and :high
  and (cast(:unit_ids as bigint[]) is null or c.unit_id = any (cast(:unit_ids as bigint[]))
    or c.assisting_ids && cast(:unit_ids as bigint[]))
order by c.no desc limit :most;

-- name: stages
select code, name_zh, name_en, is_end from cases.stage where code <> 'none' order by is_end, code;

-- name: busiest_unit
select u.code, u.name_zh, u.name_en from layers.unit u join cases.case c on c.unit_id = u.id
where u.dissolved_at is null group by u.id order by count(*) desc, u.code limit 1;

-- name: busiest_collector
select r.collector_code from grids.responsibility r join grids.responsibility_cell m on m.responsibility_id = r.id
join grids.cell g on g.code = m.cell_code join cases.case c on c.cell_id = g.id
where upper_inf(r.valid) and r.collector_code is not null group by 1 order by count(*) desc, 1 limit 1;

-- name: reassign
select no, from_code, to_code, from_unit, to_unit, noted, lost
from cases.reassign(:ended_ids, :begun_ids, :actor, :edition);

-- name: open_cases_count
select count(*) from cases.case c join cases.stage s on s.code = c.stage where not s.is_end;

-- name: rules_naming_cells
select code, area_prefix as cell_code from cases.rule
where upper_inf(valid) and area_prefix = any (cast(:codes as text[])) order by code;

-- name: open_cases_of_classes
select c.class_code, count(*) as cases from cases.case c join cases.stage s on s.code = c.stage and not s.is_end
where c.class_code = any (:codes) group by c.class_code;

-- name: rules_of_classes
select r.code, r.class_prefix, r.condition_no from cases.rule r
where upper_inf(r.valid) and (r.class_prefix = any (:prefixes) or (r.class_prefix, r.condition_no) in (
  select q.class_code, q.no from unnest(cast(:classes as text[]), cast(:numbers as integer[])) q (class_code, no)))
order by r.code;

-- name: hold_rules
select pg_advisory_xact_lock(hashtextextended('wanmi:rules', 0));

-- name: rules_instant
select greatest(clock_timestamp(), (select max(lower(valid)) + interval '1 microsecond' from cases.rule
  where lower(valid) <= clock_timestamp()));

-- name: rules_at
select r.code, r.class_prefix, r.condition_no, r.area_prefix, r.source_document, r.source_on, (
    select string_agg(case when rr.resolved_by = 'unit' then 'unit:' || u.code else rr.resolved_by end, '|' order by rr.rank)
    from cases.rule_role rr left join layers.unit u on u.id = rr.unit_id where rr.rule_id = r.id) as roles,
  st_asbinary(r.zone) as zone
from cases.rule r where r.valid @> coalesce(cast(:at as timestamptz), statement_timestamp()) order by r.code;

-- name: rules_scheduled
-- Versions that are to hold later: taking over something else before them would collide.
select q.code, q.since from (
  select code, lower(valid) as since from cases.rule where code = any (cast(:codes as text[])) and lower(valid) > :at
  union all
  select r.code, upper(r.valid) from cases.rule r
  where r.code = any (cast(:codes as text[])) and lower(r.valid) <= :at and upper(r.valid) > :at
    and not exists (select from cases.rule n where n.code = r.code and lower(n.valid) = upper(r.valid))) q
order by q.since, q.code limit 1;

-- name: rules_to_come
-- Instants after a given one at which rules begin or end.
select distinct q.at from (
  select lower(valid) as at from cases.rule where lower(valid) > :at
  union all select upper(valid) from cases.rule where upper(valid) > :at) q order by q.at limit 50;

-- name: withdraw_rules
-- Versions that were to begin at this very instant never held: what is taken over now stands in their place, and they are
-- kept among those that were withdrawn.
with withdrawn as (
  delete from cases.rule r
  where r.code = any (cast(:codes as text[])) and lower(r.valid) = :at and lower(r.valid) > clock_timestamp() returning r.*)
insert into cases.rule_withdrawn (rule_id, code, since, facts, change_id, withdrawn_change_id)
select w.id, w.code, lower(w.valid), to_jsonb(w) || jsonb_build_object('roles', (
    select jsonb_agg(jsonb_build_object('resolved_by', f.resolved_by, 'unit', u.code) order by f.rank)
    from cases.rule_role f left join layers.unit u on u.id = f.unit_id where f.rule_id = w.id)),
  w.change_id, :change_id
from withdrawn w;

-- name: end_rules
update cases.rule set valid = tstzrange(lower(valid), :at), ended_change_id = :change_id
where code = any (cast(:codes as text[])) and valid @> cast(:at as timestamptz);

-- name: classes_and_conditions
select l.code, c.no from layers.class l
left join layers.condition c on c.edition = l.edition and c.class_code = l.code where l.edition = :edition order by 1, 2;

-- name: codes_of_areas
select code, case when level = 'community' then st_asbinary(geom) end as ground from grids.area where upper_inf(valid)
union all select code, null from grids.cell where upper_inf(valid);

-- name: units_and_people
select u.code, u.area_code, coalesce(u.dissolved_at <= statement_timestamp(), false) as dissolved, exists (
  select from layers.account a where a.unit_code = u.code and a.disabled_at is null) as people
from layers.unit u order by u.code;

-- name: rules_overruled
-- What a rule proposed (events that assigned by it) and what dispatchers decided instead.
with decided as (  -- the last decision of a case, unless it came back to what was proposed first
  select l.case_no, l.rule_id, l.unit_id, l.note, r.code as rule
  from (
    select distinct on (e.case_no) e.*, first_value(e.data ->> 'instead_of') over (partition by e.case_no order by e.seq) as proposed
    from cases.event e where e.act = 'choose_unit' order by e.case_no, e.seq desc) l
  left join cases.rule r on r.id = l.rule_id
  left join layers.unit u on u.id = l.unit_id
  where u.code is distinct from l.proposed and (cast(:since as timestamptz) is null or l.at >= :since)),
together as (
  select d.rule, count(distinct d.case_no) as overruled, array_agg(distinct d.case_no) as cases,
    array_agg(distinct d.note) as reasons,
    min(k.code) as low, max(k.code) as high
  from decided d join cases.case c on c.no = d.case_no join grids.cell k on k.id = c.cell_id group by d.rule)
select t.rule, (
    select r.source_document from cases.rule r where r.code = t.rule order by lower(r.valid) desc limit 1) as document,
  (select count(distinct e.case_no) from cases.event e left join cases.rule r on r.id = e.rule_id
   where r.code is not distinct from t.rule and e.basis is not null
     and (cast(:since as timestamptz) is null or e.at >= :since)) as proposed,
  t.overruled, chosen.code as to_unit, chosen.many as to_unit_many,
  case when left(t.low, 12) = left(t.high, 12) then left(t.low, 12) when left(t.low, 9) = left(t.high, 9) then left(t.low, 9)
    when left(t.low, 6) = left(t.high, 6) then left(t.low, 6) else '' end as area, t.cases, t.reasons
from together t
cross join lateral (
  select u.code, count(distinct d.case_no) as many from decided d join layers.unit u on u.id = d.unit_id
  where d.rule is not distinct from t.rule group by u.code order by 2 desc, 1 limit 1) chosen
where t.overruled >= :least order by t.overruled desc, t.rule;

-- name: hold_case
select * from cases.hold(:no, :unit_code, :key, :held);

-- name: queue
select * from cases.queue(:stages, :unit_ids, :collector, :asked, :appealed, :overdue, cast(:after_due_at as timestamptz), :after_no,
  :most, :classes, :areas, :sources, :light);

-- name: move_case
select cases.move(:no, :seq, :at, :actor, :role, :from_stage, :act, :to_stage, :note, make_interval(secs => :worked_s),
  cast(:facts as jsonb), cast(:data as jsonb), :key, cast(:photos as jsonb));

-- name: imported_without_clock
select c.no, c.stage, c.reported_at, c.due_at, r.dispatched_at, u.code as unit_code, t.value as limit_value, t.basis as limit_basis
from cases.case c
join cases.report r on r.case_no = c.no
join grids.cell g on g.id = c.cell_id
left join layers.unit u on u.id = c.unit_id
left join lateral cases.limit_of(c.edition, c.class_code, c.condition_no, g.area_class) t on true
where c.clocks = '{}' and c.last_seq = 1 and (c.stage in ('reported', 'dispatched')
  or c.due_at is null and c.disposed_at is not null and r.dispatched_at is not null) and exists (
    select from cases.event e where e.case_no = c.no and e.seq = 1 and e.act = 'import');

-- name: import_clocks
select cases.move(c.no, c.last_seq + 1, clock_timestamp(), :actor, 'administrator', c.stage, 'import', c.stage, :note, null,
  cast(:facts as jsonb), '{}', null, null)
from cases.case c where c.no = :no;

-- name: running_in_working_time
select c.no, c.clock, c.clocks, c.clock_due_at, c.clock_yellow_at, c.escalated, clock_timestamp() as now from cases.case c
where c.clock is not null and c.clock_due_at < 'infinity' and (c.clocks -> c.clock ->> 'works')::boolean
order by c.no for update;

-- name: reckon
select cases.move(c.no, c.last_seq + 1, clock_timestamp(), :actor, :role, c.stage, 'reckon', c.stage, :note, null,
  cast(:facts as jsonb), cast(:data as jsonb), null, null)
from cases.case c where c.no = :no;

-- name: upkeep_due
-- What the clockwork has to do: suspensions that have ended, clocks that ran out and were not told.
select c.no, 'resume' as act, c.suspended_until as since from cases.case c
where c.suspended_until <= clock_timestamp()
union all
select c.no, 'escalate', c.clock_due_at from cases.case c
where not c.escalated and c.clock is not null and c.clock_due_at < clock_timestamp()
order by since, no limit :most;

-- name: years_of_cases
select distinct c.no / 10000000000 as year from cases.case c order by 1;

-- name: how_many_cases
select count(*) from cases.case;

-- name: unexplained
-- Cases whose events do not tell what they are, and those that older versions wrote without their facts.
select c.no, r.no is null as unknown from cases.case c cross join lateral cases.replay(c.no) r
where c.no > :after and c.no <= :upto and to_jsonb(c) is distinct from to_jsonb(r) order by c.no;

-- name: renewed
select cases.renewed(st_snaptogrid(st_setsrid(st_makepoint(:x, :y), cast(:srid as integer)), 1.0 / 1024), :class_code, :condition_no, :component_code, :accuracy_m);

-- name: limit_of
select value, basis from cases.limit_of(:edition, :class_code, :condition_no, :area_class);

-- name: collector_for
select code, name_zh, name_en, why
from cases.collector_for(:cell_code, st_setsrid(st_makepoint(:x, :y), cast(:srid as integer)), :not_code);

-- name: collector_named
select code, name_zh, name_en, on_duty from layers.collector where code = :code;

-- name: standing_unit
select id, code, cast(:of as text) is not null and exists (
  select from layers.units_below(cast(:of as text)) b where b.id = u.id) as below
from layers.unit u where u.code = :code and coalesce(u.dissolved_at > statement_timestamp(), true)
  and coalesce(u.founded_at <= statement_timestamp(), true);

-- name: condition_there
select exists (select from layers.class c where c.edition = :edition and c.code = :class_code) as class_there,
  exists (select from layers.condition k
    where k.edition = :edition and k.class_code = :class_code and k.no = :condition_no) as condition_there;

-- name: keep_photo
insert into cases.photo (sha256, media_type, width, height, bytes, taken_at, lon, lat, uploaded_by)
values (:sha256, :media_type, :width, :height, :bytes, :taken_at, :lon, :lat, :uploaded_by)
on conflict (sha256) do update set uploaded_at = clock_timestamp();

-- name: photo_shown
-- Whether a photo is of a case that may be seen, or was just sent by who asks.
select exists (
  select from cases.attachment a join cases.case c on c.no = a.case_no
  where a.sha256 = :sha256 and (cast(:unit_ids as bigint[]) is null or c.unit_id = any (cast(:unit_ids as bigint[]))
    or c.assisting_ids && cast(:unit_ids as bigint[])))
  or exists (select from cases.photo p where p.sha256 = :sha256 and p.uploaded_by = :name);

-- name: named_photos
select distinct sha256 from cases.attachment;

-- name: forget_photos
delete from cases.photo p where p.uploaded_at < clock_timestamp() - make_interval(secs => :older_than_s)
  and not exists (select from cases.attachment a where a.sha256 = p.sha256);

-- name: photos_there
select sha256 from cases.photo where sha256 = any (cast(:sha256 as text[]));

-- name: linked_case
select c.no, c.stage, s.is_end, c.same_as from cases.case c join cases.stage s on s.code = c.stage where c.no = :no;

-- name: followers
select c.no from cases.case c where c.same_as = :no and c.stage in ('reported', 'verifying', 'accepted', 'filed') order by c.no;

-- name: stage_what_if
drop table if exists pg_temp.what_if, pg_temp.what_if_answer;
create temporary table what_if (ord bigint primary key, no bigint, open boolean, decided boolean, point geometry, class_code text,
  condition_no integer, component_code text, reach_m double precision) on commit drop;
create temporary table what_if_answer (side text, ord bigint, cell_code text, unit_id bigint, rule_id bigint,
  primary key (side, ord)) on commit drop;

-- name: take_what_if
with taken as (
  insert into what_if
  select row_number() over (order by c.no) - 1, c.no, not s.is_end, c.basis = 'decision', c.geom, c.class_code, c.condition_no,
    c.component_code, c.accuracy_m
  from cases.case c join cases.stage s on s.code = c.stage
  where not s.is_end or c.reported_at > (select max(reported_at) from cases.case) - make_interval(days => :days)
  returning 1)
select count(*) from taken;

-- name: assign_what_if
insert into what_if_answer (side, ord, cell_code, unit_id, rule_id)
select :side, :low + a.ord - 1, a.cell_code, a.unit_id, a.rule_id
from (
  select array_agg(w.point order by w.ord) as points, array_agg(w.class_code order by w.ord) as classes,
    array_agg(w.condition_no order by w.ord) as conditions, array_agg(w.component_code order by w.ord) as components,
    array_agg(w.reach_m order by w.ord) as reaches_m
  from what_if w where w.ord >= :low and w.ord < :high) q
cross join lateral cases.assign(q.points, q.classes, q.conditions, q.components, q.reaches_m) a;

-- name: what_if_counts
select count(*) as cases, count(*) filter (where open) as open, count(*) filter (where decided) as decided from what_if;

-- name: what_if_differing
select w.no, w.open, w.class_code, b.cell_code as from_cell, a.cell_code as to_cell, ub.code as from_unit, ua.code as to_unit,
  rb.code as from_rule, ra.code as to_rule,
  case when a.cell_code is null then 'outside' when b.unit_id is distinct from a.unit_id and not w.decided then 'unit'
    when left(b.cell_code, 12) is distinct from left(a.cell_code, 12) then 'area' else 'cell' end as what,
  w.point as geom
from what_if w
join what_if_answer b on b.ord = w.ord and b.side = 'before'
join what_if_answer a on a.ord = w.ord and a.side = 'after'
left join layers.unit ub on ub.id = b.unit_id left join layers.unit ua on ua.id = a.unit_id
left join cases.rule rb on rb.id = b.rule_id left join cases.rule ra on ra.id = a.rule_id
where a.cell_code is distinct from b.cell_code or (a.unit_id is distinct from b.unit_id and not w.decided)
order by w.no;

-- name: standing_cells
select c.code, c.geom from grids.cell c
where lower(c.valid) <= coalesce(cast(:at as timestamptz), statement_timestamp())
  and (upper_inf(c.valid) or upper(c.valid) > coalesce(cast(:at as timestamptz), statement_timestamp()))
order by c.code;

-- name: standing_bodies
-- The territorial body of each area and cell; of several the one with the highest id, as cases.assign takes it.
select distinct on (u.area_code) u.area_code, u.code from layers.unit u
where u.area_code is not null
  and not coalesce(u.dissolved_at <= coalesce(cast(:at as timestamptz), statement_timestamp()), false)
  and not coalesce(u.founded_at > coalesce(cast(:at as timestamptz), statement_timestamp()), false)
order by u.area_code, u.id desc;

-- name: absent_units
select u.code from layers.unit u
where u.dissolved_at <= coalesce(cast(:at as timestamptz), statement_timestamp())
  or u.founded_at > coalesce(cast(:at as timestamptz), statement_timestamp());

-- name: standing_components
select k.code, m.code as maintainer, o.code as owner
from layers.components_at(coalesce(cast(:at as timestamptz), 'infinity')) k
left join layers.unit m on m.id = k.maintainer_unit_id left join layers.unit o on o.id = k.owner_unit_id
where cast(:codes as text[]) is null or k.code = any (cast(:codes as text[]))
order by k.code;

-- name: standing_mark
-- Changes when cells, rules or units do, also by the hour coming at which a rule or a unit begins or ends.
select concat_ws(':', (select sum(v.n) from gis.version v where v.layer = 'cells'), (select max(r.id) from cases.rule r),
  (select count(*) from cases.rule r where lower(r.valid) <= statement_timestamp()),
  (select count(*) from cases.rule r where upper(r.valid) <= statement_timestamp()),
  (select md5(string_agg(u::text, ',' order by u.id)) from layers.unit u),
  (select count(*) from layers.unit u where u.dissolved_at <= statement_timestamp()),
  (select count(*) from layers.unit u where u.founded_at <= statement_timestamp()),
  layers.edition_at(null));

-- name: calendar_mark
select id, since from cases.calendar order by id desc limit 1;

-- name: read_calendar
select hours, day_hours, timezone, lines from cases.calendar where id = :id;

-- name: keep_calendar
insert into cases.calendar (change_id, hours, day_hours, timezone, lines)
values (:change_id, :hours, :day_hours, :timezone, cast(:lines as jsonb));

-- name: hold_calendar
select id, since from cases.hold_calendar(false);

-- name: change_calendar
select id from cases.hold_calendar(true);
