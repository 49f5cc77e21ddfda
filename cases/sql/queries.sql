-- name: rule_ids
select code, id from cases.rule where upper_inf(valid);

-- name: stage_reports
drop table if exists pg_temp.staged_report;
create temporary table staged_report (like cases.report including defaults) on commit drop;
alter table staged_report drop column id;

-- name: keep_reports
insert into cases.report (channel, key, class_code, condition_no, component_code, x, y, srid, accuracy_m, geom, address,
  description, reported_at, due_at, disposed_at, closed_at, stage, note, unit_label, area_label, data_source)
select channel, key, class_code, condition_no, component_code, x, y, srid, accuracy_m, geom, address,
  description, reported_at, due_at, disposed_at, closed_at, stage, note, unit_label, area_label, data_source
from staged_report on conflict (channel, key) do nothing;

-- name: reports_waiting
select count(*) from cases.report where case_no is null and refusal is null;

-- name: open_reports
select opened, refused from cases.open_reports(:batch, :actor, :edition);

-- name: ensure_partitions
select cases.ensure_partition(y) from generate_series(
  (select extract(year from min(reported_at) - interval '1 day')::integer from cases.report where case_no is null),
  (select extract(year from max(reported_at) + interval '1 day')::integer from cases.report where case_no is null)) y;

-- name: counts_of_rules
select count(*) as rules, count(zone) as zones from cases.rule where upper_inf(valid);

-- name: counts_of_cases
select count(*) as cases, count(unit_id) as with_unit, count(border_m) as near_border,
  count(*) filter (where placed = 'nearest') as nearest, count(*) filter (where due_at is not null) as with_due,
  count(*) filter (where coalesce(disposed_at, closed_at) > due_at) as late,
  count(*) filter (where due_at < last.at and disposed_at is null and closed_at is null and not s.is_end) as open_late,
  count(*) filter (where component_m > :far_m) as far_from_component,
  min(reported_at) as first_at, max(reported_at) as last_at
from cases.case c join cases.stage s on s.code = c.stage, (select max(reported_at) as at from cases.case) last;

-- name: period_of_cases
select min(reported_at) as first_at, max(reported_at) as last_at from cases.case;

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

-- name: assign_one
select a.cell_code, a.placed, a.placed_m, a.border_m, a.border_code, a.component_m, a.basis, a.resolved_by, u.code as unit_code,
  u.name_zh as unit_zh, u.name_en as unit_en, r.code as rule_code, r.source_document,
  (select array_agg(x.name_zh order by x.code) from layers.unit x where x.id = any (a.assisting_ids)) as assisting_zh,
  (select array_agg(x.name_en order by x.code) from layers.unit x where x.id = any (a.assisting_ids)) as assisting_en
from cases.assign(array[st_snaptogrid(st_setsrid(st_makepoint(:x, :y), :srid), 1.0 / 1024)], array[cast(:class_code as text)],
  array[cast(:condition_no as integer)], array[cast(:component_code as text)]) a
left join layers.unit u on u.id = a.unit_id
left join cases.rule r on r.id = a.rule_id;
