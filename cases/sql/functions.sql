create or replace function cases.ensure_partition(year integer) returns void language plpgsql as $$
declare
  low bigint := year::bigint * 10000000000;
  high bigint := (year + 1)::bigint * 10000000000;
begin
  if to_regclass(format('cases.case_%s', year)) is not null then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('wanmi:partition', 0));  -- the first case of a year may come twice at once
  if to_regclass(format('cases.case_%s', year)) is null then
    execute format('create table cases.case_%s partition of cases.case for values from (%s) to (%s)', year, low, high);
    execute format('create table cases.event_%s partition of cases.event for values from (%s) to (%s)', year, low, high);
  end if;
end $$;
comment on function cases.ensure_partition is 'The partitions of cases and events of one year, made if they are not there';

create or replace function cases.resolve(
  role cases.rule_role, maintainer bigint, owner bigint, cell bigint, community bigint, street bigint, district bigint)
returns bigint language sql immutable parallel safe as $$
  select case role.resolved_by when 'unit' then role.unit_id when 'maintainer' then maintainer when 'owner' then owner
    when 'cell' then cell when 'community' then community when 'street' then street when 'district' then district end
$$;
comment on function cases.resolve is 'The unit that a role means at one place for one component, or null';

-- The unit responsible for places, set-based; one place is a set of one. Order (workflow.md, Responsibility):
-- 1. the named component's maintainer, else its owner;
-- 2. the most specific rule whose first resolving role is a fixed unit or an attribute of the component;
-- 3. territorial: a zone, then the rule's bodies of the place, then the body of the cell, community, street, district;
-- 4. nobody. A unit that was dissolved is passed over.
-- A place on a shared border belongs to the cell with the lowest code. Rules are resolved once per distinct class,
-- condition and cell. Points are in the city's system, snapped.
-- reaches_m: how far the place may be wrong; borders nearer than that (at most 1 000 m), or than the city's tolerance,
-- are told.
-- at: the instant asked about; now is the clock's, for a case that opens may have waited for a grid to be published.
-- What holds until further notice and what has ended have indexes of their own; rules are
-- not asked by @>, for then the index of their codes and times would be walked for each.
-- How many rows an array holds is unknown to the planner: without enable_nestloop = off it joins thousands of places
-- to thousands of resolved rules by comparing each with each. Look-ups by index are lateral, so they stay loops.
-- One plan serves any number of places; made anew for each call it would take four times as long as one look-up.
create or replace function cases.assign(
  points geometry[], class_codes text[], condition_nos integer[], component_codes text[],
  reaches_m double precision[] default '{}', at timestamptz default clock_timestamp())
returns table (
  ord bigint, cell_id bigint, cell_code text, placed text, placed_m double precision,
  border_m double precision, border_code text, component_m double precision,
  unit_id bigint, assisting_ids bigint[], basis text, resolved_by text, rule_id bigint, zone_rule_ids bigint[])
language plpgsql stable set enable_nestloop = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  -- Units that were not there: few, so they are looked up once and not for each candidate.
  absent bigint[] := array(
    select u.id from layers.unit u where u.dissolved_at <= assign.at or u.founded_at > assign.at);
begin
return query
with asked as materialized (
  select a.ord, a.point, a.class_code, a.condition_no, a.component_code,
    least(greatest(a.reach_m, city.border_tolerance_m), 1000) as reach_m, city.tolerance_m
  from unnest(points, class_codes, condition_nos, component_codes, reaches_m)
    with ordinality as a (point, class_code, condition_no, component_code, reach_m, ord)
  cross join grids.city
),
located as materialized (
  select asked.*, coalesce(inside.id, near.id) as cell_id, coalesce(inside.code, near.code) as cell_code,
    case when inside.id is not null then 'inside' when near.id is not null then 'nearest' else 'outside' end as placed,
    coalesce(near.distance_m, 0) as placed_m, border.m as border_m, border.code as border_code
  from asked
  left join lateral (
    select q.id, q.code from (
      select c.id, c.code from grids.cell c
      where upper_inf(c.valid) and lower(c.valid) <= assign.at and st_covers(c.geom, asked.point)
      union all
      select c.id, c.code from grids.cell c
      where not upper_inf(c.valid) and c.valid @> assign.at and st_covers(c.geom, asked.point)) q
    order by q.code limit 1
  ) inside on true
  left join lateral (
    select q.id, q.code, q.distance_m from (
      select c.id, c.code, st_distance(c.geom, asked.point) as distance_m from grids.cell c
      where inside.id is null and upper_inf(c.valid) and lower(c.valid) <= assign.at
        and st_dwithin(c.geom, asked.point, asked.tolerance_m)
      union all
      select c.id, c.code, st_distance(c.geom, asked.point) from grids.cell c
      where inside.id is null and not upper_inf(c.valid) and c.valid @> assign.at
        and st_dwithin(c.geom, asked.point, asked.tolerance_m)) q
    order by q.distance_m, q.code limit 1
  ) near on true
  left join lateral (
    select q.code, q.m from (
      select b.code, st_distance(b.geom, asked.point) as m from grids.cell b
      where upper_inf(b.valid) and lower(b.valid) <= assign.at and st_dwithin(b.geom, asked.point, asked.reach_m)
        and b.community_code <> left(coalesce(inside.code, near.code), 12)
      union all
      select b.code, st_distance(b.geom, asked.point) from grids.cell b
      where not upper_inf(b.valid) and b.valid @> assign.at and st_dwithin(b.geom, asked.point, asked.reach_m)
        and b.community_code <> left(coalesce(inside.code, near.code), 12)) q
    order by q.m, q.code limit 1
  ) border on true
),
bodies as materialized (  -- the territorial bodies of each cell that occurs
  select k.cell_code,
    max(u.id) filter (where u.area_code = k.cell_code) as cell,
    max(u.id) filter (where u.area_code = left(k.cell_code, 12)) as community,
    max(u.id) filter (where u.area_code = left(k.cell_code, 9)) as street,
    max(u.id) filter (where u.area_code = left(k.cell_code, 6)) as district
  from (select distinct cell_code from located where cell_code is not null) k
  left join layers.unit u on u.area_code = any (grids.area_prefixes(k.cell_code)) and u.id <> all (absent)
  group by k.cell_code
),
ruled as materialized (  -- the best rule of each class, condition and cell that occurs
  select k.class_code, k.condition_no, k.cell_code, best.id as rule_id
  from (select distinct class_code, condition_no, cell_code from located where cell_code is not null) k
  left join lateral (
    select q.id from (
      select r.id, r.code, r.class_prefix, r.condition_no, r.area_prefix from cases.rule r
      where upper_inf(r.valid) and lower(r.valid) <= assign.at and r.zone is null
        and r.class_prefix = any (layers.class_prefixes(k.class_code))
        and r.area_prefix = any (grids.area_prefixes(k.cell_code))
        and (r.condition_no is null or r.condition_no = k.condition_no)
      union all
      select r.id, r.code, r.class_prefix, r.condition_no, r.area_prefix from cases.rule r
      where not upper_inf(r.valid) and lower(r.valid) <= assign.at and upper(r.valid) > assign.at and r.zone is null
        and r.class_prefix = any (layers.class_prefixes(k.class_code))
        and r.area_prefix = any (grids.area_prefixes(k.cell_code))
        and (r.condition_no is null or r.condition_no = k.condition_no)) q
    order by length(q.class_prefix) desc, q.condition_no is null, length(q.area_prefix) desc, q.code collate "C" limit 1
  ) best on true
),
gathered as (
  select l.ord, l.cell_id, l.cell_code, l.placed, l.placed_m, l.border_m, l.border_code,
    k.m as component_m, k.maintainer_unit_id as maintainer, k.owner_unit_id as owner,
    b.cell, b.community, b.street, b.district, g.rule_id, zoned.rule_ids as zone_rule_ids
  from located l
  left join bodies b on b.cell_code = l.cell_code
  left join ruled g on g.cell_code = l.cell_code and g.class_code = l.class_code
    and g.condition_no is not distinct from l.condition_no
  left join lateral (
    select c.maintainer_unit_id, c.owner_unit_id, st_distance(c.geom, l.point) as m from layers.component c
    where c.code = l.component_code and lower(c.valid) <= assign.at and (upper_inf(c.valid) or upper(c.valid) > assign.at)
    limit 1) k on true
  left join lateral (  -- the zones of the first rank: two of them claim the place against each other
    select array_agg(z.id order by z.code collate "C") as rule_ids from (
      select q.id, q.code,
        rank() over (order by length(q.class_prefix) desc, q.condition_no is null, length(q.area_prefix) desc) as best
      from (
        select r.id, r.code, r.class_prefix, r.condition_no, r.area_prefix from cases.rule r
        where upper_inf(r.valid) and lower(r.valid) <= assign.at and r.zone is not null and st_covers(r.zone, l.point)
          and r.class_prefix = any (layers.class_prefixes(l.class_code))
          and r.area_prefix = any (grids.area_prefixes(l.cell_code))
          and (r.condition_no is null or r.condition_no = l.condition_no)
        union all
        select r.id, r.code, r.class_prefix, r.condition_no, r.area_prefix from cases.rule r
        where not upper_inf(r.valid) and lower(r.valid) <= assign.at and upper(r.valid) > assign.at and r.zone is not null and st_covers(r.zone, l.point)
          and r.class_prefix = any (layers.class_prefixes(l.class_code))
          and r.area_prefix = any (grids.area_prefixes(l.cell_code))
          and (r.condition_no is null or r.condition_no = l.condition_no)) q) z
    where z.best = 1
  ) zoned on l.cell_code is not null
),
candidates as (  -- every unit that could be meant, in order; the first leads
  select g.ord, c.step, c.rank, c.unit_id, c.basis, c.resolved_by, c.rule_id
  from gathered g
  cross join lateral (
    select 1 as step, 1 as rank, g.maintainer as unit_id, 'component' as basis, 'maintainer' as resolved_by, null::bigint as rule_id
    union all select 1, 2, g.owner, 'component', 'owner', null
    union all
    select case when rr.resolved_by in ('unit', 'maintainer', 'owner') and rr.rank <= first.rank then 2 else 4 end,
      rr.rank, cases.resolve(rr, g.maintainer, g.owner, g.cell, g.community, g.street, g.district),
      'rule', rr.resolved_by, rr.rule_id
    from cases.rule_role rr
    cross join (
      select coalesce(min(f.rank), 0) as rank from cases.rule_role f where f.rule_id = g.rule_id
        and cases.resolve(f, g.maintainer, g.owner, g.cell, g.community, g.street, g.district) is not null
        and cases.resolve(f, g.maintainer, g.owner, g.cell, g.community, g.street, g.district) <> all (absent)) first
    where rr.rule_id = g.rule_id
    union all
    select 3, 100 * z.n::integer + rr.rank, cases.resolve(rr, g.maintainer, g.owner, g.cell, g.community, g.street, g.district),
      'zone', rr.resolved_by, rr.rule_id
    from unnest(g.zone_rule_ids) with ordinality z (rule_id, n)
    cross join lateral (  -- with a limit it stays a look-up by index
      select * from cases.rule_role f where f.rule_id = z.rule_id order by f.rank limit 99) rr
    union all select 5, 1, g.cell, 'territory', 'cell', null
    union all select 5, 2, g.community, 'territory', 'community', null
    union all select 5, 3, g.street, 'territory', 'street', null
    union all select 5, 4, g.district, 'territory', 'district', null
  ) c
  where c.unit_id is not null and c.unit_id <> all (absent) and g.cell_id is not null
),
led as (
  select distinct on (c.ord) c.ord, c.unit_id, c.basis, c.resolved_by, c.rule_id
  from candidates c order by c.ord, c.step, c.rank
),
assisted as (
  select c.ord, array_agg(distinct c.unit_id) as unit_ids
  from candidates c join led on led.ord = c.ord and c.unit_id <> led.unit_id
  where c.step in (2, 4) or c.step = 3 and case led.basis when 'zone' then c.rule_id = led.rule_id else c.rank < 200 end
  group by c.ord
)
select g.ord, g.cell_id, g.cell_code, g.placed, g.placed_m, g.border_m, g.border_code, g.component_m,
  led.unit_id, coalesce(assisted.unit_ids, '{}'), coalesce(led.basis, 'nobody'), led.resolved_by, led.rule_id,
  coalesce(g.zone_rule_ids, '{}')
from gathered g
left join led on led.ord = g.ord
left join assisted on assisted.ord = g.ord
order by g.ord;
end $$;
comment on function cases.assign is 'Cell, nearness to a border, responsible unit and reason of each place; arrays of equal length, one row each';

-- The error circle of a place, cut by every line at which the answer may change: cells, and the red lines of zones
-- that hold for the class. The circle is drawn as a polygon around it (128 sides, 0.03 % wider), so that no line within
-- reach is missed; parts that only touch the polygon's corners are left out by their true distance.
create or replace function cases.parts_of_circle(
  point geometry, reach_m double precision, class_code text, condition_no integer, at timestamptz)
returns table (inside geometry, share double precision, distance_m double precision)
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_variable
declare
  disc geometry := st_buffer(point, reach_m / cos(pi() / 128), 32);
  lines geometry;
begin
  select st_collect(st_clipbybox2d(q.line, st_expand(disc, reach_m * 0.01))) into lines from (
    select st_boundary(c.geom) as line from grids.cell c
    where upper_inf(c.valid) and lower(c.valid) <= at and st_dwithin(c.geom, point, reach_m)
    union all
    select st_boundary(c.geom) from grids.cell c
    where not upper_inf(c.valid) and c.valid @> at and st_dwithin(c.geom, point, reach_m)
    union all
    select st_boundary(r.zone) from cases.rule r
    where upper_inf(r.valid) and lower(r.valid) <= at and r.zone is not null and st_dwithin(r.zone, point, reach_m)
      and r.class_prefix = any (layers.class_prefixes(class_code))
      and (r.condition_no is null or r.condition_no = parts_of_circle.condition_no)
    union all
    select st_boundary(r.zone) from cases.rule r
    where not upper_inf(r.valid) and lower(r.valid) <= at and upper(r.valid) > at and r.zone is not null and st_dwithin(r.zone, point, reach_m)
      and r.class_prefix = any (layers.class_prefixes(class_code))
      and (r.condition_no is null or r.condition_no = parts_of_circle.condition_no)) q
  where st_dwithin(q.line, point, reach_m);
  if lines is null or st_isempty(lines) then
    return query select point, 1.0::double precision, 0.0::double precision;
    return;
  end if;
  return query
    select p.inside, p.m2 / sum(p.m2) over (), p.m from (
      select st_pointonsurface(d.geom) as inside, st_area(d.geom) as m2, st_distance(d.geom, point) as m
      from st_dump(st_polygonize(array[st_unaryunion(st_collect(st_exteriorring(disc), lines))])) d) p
    where p.m <= reach_m and st_intersects(disc, p.inside);
end $$;
comment on function cases.parts_of_circle is 'The parts of a place''s error circle between which the answer may differ: a point in each, its share, its distance from the place';

-- One place and what is near it, in one call of assign: the place itself (kind 'here', always the first row), the point
-- just beyond the border of the nearest other community ('across'), and the parts of the error circle ('part').
-- The place is in the city's system, snapped; at: the instant asked about, null for now.
create or replace function cases.locate(
  here geometry, class_code text, condition_no integer, component_code text, accuracy_m double precision, at timestamptz)
returns table (
  kind text, share double precision, distance_m double precision, cell_code text, placed text, placed_m double precision,
  component_m double precision, basis text, resolved_by text, unit_id bigint, assisting_ids bigint[],
  zone_rule_ids bigint[], rule_code text, source_document text, source_on date, area_m2 double precision, area_class text,
  reach_m double precision)
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
return query
with place as materialized (
  select p.point, least(greatest(locate.accuracy_m, c.border_tolerance_m), 1000) as reach_m, c.tolerance_m,
    coalesce(locate.at, statement_timestamp()) as at
  from grids.city c, (select locate.here as point) p),
own as materialized (
  select coalesce((
    select min(q.code) from (
      select c.code from grids.cell c
      where upper_inf(c.valid) and lower(c.valid) <= place.at and st_covers(c.geom, place.point)
      union all
      select c.code from grids.cell c
      where not upper_inf(c.valid) and c.valid @> place.at and st_covers(c.geom, place.point)) q), (
    select q.code from (
      select c.code, st_distance(c.geom, place.point) as m from grids.cell c
      where upper_inf(c.valid) and lower(c.valid) <= place.at and st_dwithin(c.geom, place.point, place.tolerance_m)
      union all
      select c.code, st_distance(c.geom, place.point) from grids.cell c
      where not upper_inf(c.valid) and c.valid @> place.at
        and st_dwithin(c.geom, place.point, place.tolerance_m)) q
    order by q.m, q.code limit 1)) as code
  from place),
beyond as materialized (  -- half a metre beyond the border, on the way to the middle of the cell there
  select q.code, q.m, st_lineinterpolatepoint(w.way, least(0.5 / greatest(st_length(w.way), 0.5), 1.0)) as point
  from place cross join own
  cross join lateral (
    select n.* from (  -- four, for those that are equally near: the lowest code of them is told
      (select b.code, b.geom, st_distance(b.geom, place.point) as m from grids.cell b
       where upper_inf(b.valid) and lower(b.valid) <= place.at and b.community_code <> left(own.code, 12)
       order by b.geom <-> place.point limit 4)
      union all
      (select b.code, b.geom, st_distance(b.geom, place.point) from grids.cell b
       where not upper_inf(b.valid) and b.valid @> place.at and b.community_code <> left(own.code, 12)
       order by b.geom <-> place.point limit 4)) n
    order by n.m, n.code limit 1) q
  cross join lateral (
    select st_makeline(st_closestpoint(q.geom, place.point), st_pointonsurface(q.geom)) as way) w),
points as materialized (
  select 1 as n, 'here' as kind, point, 1.0::double precision as share, 0.0::double precision as distance_m, null as code
  from place
  union all select 2, 'across', point, null, m, code from beyond
  union all
  select 3, 'part', c.inside, c.share, c.distance_m, null
  from place join own on own.code is not null
  cross join lateral cases.parts_of_circle(place.point, place.reach_m, locate.class_code, locate.condition_no, place.at) c),
asked as materialized (
  select array_agg(p.point order by p.n, p.distance_m) as points, array_agg(p.kind order by p.n, p.distance_m) as kinds,
    array_agg(p.share order by p.n, p.distance_m) as shares, array_agg(p.distance_m order by p.n, p.distance_m) as distances,
    array_agg(p.code order by p.n, p.distance_m) as codes, count(*)::integer as many
  from points p)
select q.kinds[a.ord] as kind, q.shares[a.ord] as share, q.distances[a.ord] as distance_m,
  coalesce(q.codes[a.ord], a.cell_code) as cell_code, a.placed, a.placed_m, a.component_m, a.basis, a.resolved_by, a.unit_id,
  a.assisting_ids, a.zone_rule_ids, r.code as rule_code, r.source_document, r.source_on, c.area_m2, c.area_class,
  place.reach_m
from asked q cross join place
cross join lateral cases.assign(q.points, array_fill(locate.class_code, array[q.many]),
  array_fill(locate.condition_no, array[q.many]), array_fill(locate.component_code, array[q.many]),
  at => place.at) a
left join lateral (  -- by index: the planner takes assign to return a thousand rows, and would read and hash all cells
  select k.area_m2, k.area_class from grids.cell k where k.id = a.cell_id limit 1) c on true
left join lateral (
  select k.code, k.source_document, k.source_on from cases.rule k where k.id = a.rule_id limit 1) r on true
order by a.ord;
end $$;
comment on function cases.locate is 'A place, what lies across the nearest border, the parts of its error circle: each with cell, unit and reason';

-- What is near a place: who walks its cell; open cases of the class, which may be the same problem, of the units given
-- (null: of all); the nearest components (component_class null: of any class), the nearest first, so many at most.
create or replace function cases.around(
  here geometry, cell_code text, class_code text, component_class text, within_m double precision,
  similar_m double precision, days integer, unit_ids bigint[], most integer, at timestamptz)
returns json language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
return (
  select json_build_object('collector',
  (select row_to_json(q) from (
    select k.code, k.name_zh, k.name_en, g.code as grid_code, g.name_zh as grid_zh, g.name_en as grid_en
    from grids.responsibility_cell m
    cross join lateral (  -- with a limit it stays a look-up by index
      select * from grids.responsibility r
      where r.id = m.responsibility_id and r.valid @> coalesce(around.at, statement_timestamp()) limit 1) g
    left join layers.collector k on k.code = g.collector_code
    where m.cell_code = around.cell_code order by g.code limit 1) q), 'open_cases',
  (select coalesce(json_agg(q), '[]') from (
    select c.no, st_distance(c.geom, p.point) as distance_m, c.reported_at, c.stage, s.name_zh as stage_zh, s.name_en as stage_en,
      u.code as unit_code, u.name_zh as unit_zh, u.name_en as unit_en
    from (select around.here as point) p
    join cases.case c on c.class_code = around.class_code and st_dwithin(c.geom, p.point, around.similar_m)
    join cases.stage s on s.code = c.stage and not s.is_end
    left join layers.unit u on u.id = c.unit_id
    where c.reported_at > coalesce((select max(reported_at) from cases.case), now()) - make_interval(days => around.days)
      and (around.unit_ids is null or c.unit_id = any (around.unit_ids)
        or c.assisting_ids && around.unit_ids)
    order by distance_m, c.no limit around.most) q), 'components',
  (select coalesce(json_agg(q), '[]') from (
    select k.code, k.class_code, l.name_zh as class_zh, l.name_en as class_en, k.state, st_distance(k.geom, p.point) as distance_m,
      st_x(st_transform(st_centroid(k.geom), 4326)) as lon, st_y(st_transform(st_centroid(k.geom), 4326)) as lat
    from (select around.here as point) p
    join layers.components_at(coalesce(around.at, 'infinity')) k on st_dwithin(k.geom, p.point, around.within_m)
    join layers.class l on l.edition = k.edition and l.code = k.class_code
    where around.component_class is null or k.class_code = around.component_class
    order by distance_m, k.code limit around.most) q)));
end $$;
comment on function cases.around is 'What is near a place: the collector, open cases of the class, components';

create or replace function cases.alike(case_no bigint, within_m double precision, days integer, most integer)
returns table (no bigint, distance_m double precision, reported_at timestamptz, stage text)
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
return query
  select o.no, st_distance(o.geom, c.geom) as distance_m, o.reported_at, o.stage
  from cases.case c
  join cases.case o on o.class_code = c.class_code and st_dwithin(o.geom, c.geom, alike.within_m) and o.no <> c.no
    and o.reported_at > c.reported_at - make_interval(days => alike.days)
  join cases.stage s on s.code = o.stage and not s.is_end
  where c.no = alike.case_no order by 2, 1 limit alike.most;
end $$;
comment on function cases.alike is 'Open cases of the class near a case, reported after some days before it: they may be the same problem';

-- All about one place, as JSON, in one round trip: the rows of cases.locate, their areas and units, the class; and, where
-- asked for, what is around it (the further arguments are those of cases.around) and the names near by.
create or replace function cases.jurisdiction(
  here geometry, class_code text, condition_no integer, component_code text, accuracy_m double precision, at timestamptz,
  surroundings boolean, similar_class text, component_class text, within_m double precision, similar_m double precision,
  days integer, unit_ids bigint[], most integer,
  out answers json, out areas json, out units json, out problem json, out around json, out places json)
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
  with located as materialized (
    select l.* from cases.locate(jurisdiction.here, jurisdiction.class_code, jurisdiction.condition_no,
      jurisdiction.component_code, jurisdiction.accuracy_m, jurisdiction.at) l)
  select
    (select json_agg(l) from located l), (
    select json_agg(q) from (
      select k.cell_code, a.level, a.code, a.name_zh, a.name_en
      from (select distinct l.cell_code from located l where l.cell_code is not null) k
      join grids.area a on a.code = any (grids.area_prefixes(k.cell_code))
        and lower(a.valid) <= coalesce(jurisdiction.at, 'infinity')
        and (upper_inf(a.valid) or upper(a.valid) > coalesce(jurisdiction.at, 'infinity'))
      order by k.cell_code, length(a.code) desc) q), (
    select json_object_agg(u.id, json_build_object('code', u.code, 'name_zh', u.name_zh, 'name_en', u.name_en, 'kind', u.kind))
    from layers.unit u where u.id in (
      select l.unit_id from located l union all select unnest(l.assisting_ids) from located l)), (
    select json_build_object('code', c.code, 'name_zh', c.name_zh, 'name_en', c.name_en) from layers.class c
    where c.code = jurisdiction.class_code and c.edition = (  -- as layers.edition_at(null), which would be planned anew
      select f.edition from layers.edition_in_force f order by f.since desc limit 1))
  into answers, areas, units, problem;
  if surroundings then
    around := cases.around(here, answers -> 0 ->> 'cell_code', similar_class, component_class, within_m, similar_m, days, unit_ids,
      most, at);
    places := (select coalesce(json_agg(n), '[]') from layers.places_near(here) n);
  end if;
end $$;
comment on function cases.jurisdiction is 'All about one place as JSON: cell, areas, unit and reason, here, across the border and in the error circle; what is around';

create or replace function cases.refusal_text(
  refusal text, point geometry, class_code text, condition_no integer, out en text, out zh text)
language sql stable as $$
  with nearest as (
    select coalesce((
      select round(st_distance(c.geom, point))::text from grids.cell c
      where refusal = 'outside' and upper_inf(c.valid) order by c.geom <-> point limit 1), '?') as m
  )
  select v.en, v.zh
  from nearest, lateral (values
    ('outside', 'outside the grid, ' || m || ' m from the nearest cell', '不在网格范围内,距最近单元网格 ' || m || ' 米'),
    ('no_place', 'its coordinates are missing or are no place', '坐标缺失或不是有效位置'),
    ('no_time', 'it has no time of report', '缺少上报时间'),
    ('unknown_class', 'the catalogue has no class ' || coalesce(class_code, '(none)'),
      '目录中没有类别 ' || coalesce(class_code, '（空）')),
    ('unknown_condition', 'class ' || class_code || ' has no filing condition ' || condition_no,
      '类别 ' || class_code || ' 没有立案条件 ' || condition_no)
  ) v (code, en, zh)
  where v.code = refusal
$$;
comment on function cases.refusal_text is 'The reason of a refusal in both languages';


-- Open a case for each of the next reports that wait, in the order in which they were reported; refuse those that
-- cannot be placed or classed, with the reason kept beside the report. The caller's transaction holds them together.
create or replace function cases.open_reports(batch integer, actor text, edition text)
returns table (opened bigint, refused bigint) language plpgsql as $$
#variable_conflict use_column
declare
  zone text := (select timezone from grids.city);
  now timestamptz := clock_timestamp();
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('wanmi:grid', 0));  -- not while a grid is being published
  create temporary table if not exists opening (
    id bigint, no bigint, ord bigint, geom geometry, class_code text, condition_no integer, component_code text,
    accuracy_m double precision, refusal text) on commit drop;
  truncate opening;
  insert into opening (id, ord, geom, class_code, condition_no, component_code, accuracy_m, refusal)
  select r.id, row_number() over (order by r.reported_at, r.id), r.geom, r.class_code, r.condition_no, r.component_code,
    r.accuracy_m,
    case
      when r.geom is null then 'no_place'
      when r.reported_at is null then 'no_time'
      when l.code is null then 'unknown_class'
      when r.condition_no is not null and c.no is null then 'unknown_condition'
    end
  from (
    select * from cases.report w where w.case_no is null and w.refusal is null
    order by w.id limit batch for update skip locked) r
  left join layers.class l on l.edition = open_reports.edition and l.code = r.class_code
  left join layers.condition c on c.edition = open_reports.edition and c.class_code = r.class_code and c.no = r.condition_no;

  create temporary table if not exists answered (
    id bigint, cell_id bigint, placed text, placed_m double precision, border_m double precision, border_code text,
    component_m double precision,
    unit_id bigint, assisting_ids bigint[], basis text, resolved_by text, rule_id bigint) on commit drop;
  truncate answered;
  insert into answered
  select o.id, a.cell_id, a.placed, a.placed_m, a.border_m, a.border_code, a.component_m, a.unit_id, a.assisting_ids,
    a.basis, a.resolved_by, a.rule_id
  from (select array_agg(geom order by ord) as points, array_agg(class_code order by ord) as classes,
          array_agg(condition_no order by ord) as conditions, array_agg(component_code order by ord) as components,
          array_agg(accuracy_m order by ord) as reaches_m, array_agg(id order by ord) as ids
        from opening where refusal is null) q
  cross join lateral cases.assign(q.points, q.classes, q.conditions, q.components, q.reaches_m) a
  join opening o on o.id = q.ids[a.ord];

  update opening o set refusal = 'outside' from answered a where a.id = o.id and a.cell_id is null;
  update opening o set no = numbered.no
  from (
    select q.id, to_char(q.reported_at at time zone zone, 'YYYYMMDD')::bigint * 1000000 + nextval('cases.serial') as no
    from (select w.id, r.reported_at from opening w join cases.report r on r.id = w.id
          where w.refusal is null order by w.ord) q) numbered  -- serials follow the time of report
  where numbered.id = o.id;

  insert into cases.case (no, channel, edition, class_code, condition_no, component_code, geom, accuracy_m, address,
    description, reported_at, due_at, disposed_at, closed_at, stage, last_seq, acted_at, cell_id, placed, placed_m, border_m,
    border_code, component_m, unit_id, assisting_ids, basis, resolved_by, rule_id, data_source)
  select o.no, r.channel, open_reports.edition, r.class_code, r.condition_no, r.component_code, r.geom, r.accuracy_m,
    r.address, r.description, r.reported_at, r.due_at, r.disposed_at, r.closed_at, r.stage, 1, now, a.cell_id, a.placed,
    a.placed_m, a.border_m, a.border_code, a.component_m, a.unit_id, a.assisting_ids, a.basis, a.resolved_by, a.rule_id,
    r.data_source
  from opening o join cases.report r on r.id = o.id join answered a on a.id = o.id
  where o.refusal is null;

  insert into cases.event (case_no, seq, at, actor, role, from_stage, act, to_stage, note, unit_id, assisting_ids, basis,
    resolved_by, rule_id, data, facts)
  select o.no, 1, now, open_reports.actor, 'administrator', 'none', 'import', r.stage, r.note, a.unit_id, a.assisting_ids,
    a.basis, a.resolved_by, a.rule_id,
    jsonb_build_object('channel', r.channel, 'key', r.key, 'steps', jsonb_strip_nulls(jsonb_build_object(
      'reported_at', r.reported_at, 'dispatched_at', r.dispatched_at, 'due_at', r.due_at, 'disposed_at', r.disposed_at,
      'inspected_at', r.inspected_at, 'closed_at', r.closed_at))),
    jsonb_strip_nulls(jsonb_build_object('edition', open_reports.edition, 'cell_id', a.cell_id, 'placed', a.placed,
      'placed_m', a.placed_m, 'border_m', a.border_m, 'border_code', a.border_code, 'component_m', a.component_m,
      'due_at', r.due_at, 'disposed_at', r.disposed_at, 'closed_at', r.closed_at))
  from opening o join cases.report r on r.id = o.id join answered a on a.id = o.id
  where o.refusal is null;

  update cases.report r
  set case_no = o.no, refusal = o.refusal, refusal_en = t.en, refusal_zh = t.zh
  from opening o
  left join lateral cases.refusal_text(o.refusal, o.geom, o.class_code, o.condition_no) t on true
  where o.id = r.id;

  return query select count(*) filter (where refusal is null), count(*) filter (where refusal is not null) from opening;
end $$;
comment on function cases.open_reports is 'Assign and open the next reports that wait; returns how many became cases and how many were refused';

-- Open a case for one report that has just come in: what was received, the case and its first event, or nothing.
-- The same channel and key again is the same report: its case is returned, and whether it says the same. A refused
-- report is refused to the sender's face (refusal: outside, unknown_class, unknown_condition): the caller rolls back.
-- report: what was received, by the columns of cases.report; acceptance_s: how long its acceptance may take.
create or replace function cases.open_case(
  report jsonb, point geometry, actor text, role text, edition text, acceptance_s double precision, photos jsonb,
  out no bigint, out refusal text, out was_there boolean, out other_report boolean)
language plpgsql as $$
#variable_conflict use_column
declare
  given cases.report := jsonb_populate_record(null::cases.report, report);
  r cases.report;
  assigned record;
  told jsonb;
  at timestamptz := clock_timestamp();
  today date := (at at time zone (select timezone from grids.city))::date;
begin
  insert into cases.report (channel, key, act, class_code, condition_no, component_code, x, y, srid, accuracy_m, geom,
    address, description, verified, reporter, device, seen_at, reported_at, stage, data_source)
  values (given.channel, given.key, given.act, given.class_code, given.condition_no, given.component_code, given.x, given.y,
    given.srid, given.accuracy_m, open_case.point, given.address, given.description, given.verified, given.reporter,
    given.device, given.seen_at, at, case given.act when 'report' then 'reported' else 'self_disposed' end, given.data_source)
  on conflict (channel, key) do nothing returning * into r;
  was_there := r.id is null;
  if was_there then
    select * into r from cases.report q where q.channel = given.channel and q.key = given.key;
    no := r.case_no;
    other_report := (r.act, r.class_code, r.condition_no, r.component_code, r.x, r.y, r.srid, r.address, r.description)
      is distinct from (given.act, given.class_code, given.condition_no, given.component_code, given.x, given.y, given.srid,
      given.address, given.description);
    return;
  end if;
  other_report := false;
  if r.class_code is not null and not exists (
    select from layers.class c where c.edition = open_case.edition and c.code = r.class_code) then
    refusal := 'unknown_class';
    return;
  end if;
  if r.condition_no is not null and not exists (
    select from layers.condition c
    where c.edition = open_case.edition and c.class_code = r.class_code and c.no = r.condition_no) then
    refusal := 'unknown_condition';
    return;
  end if;
  -- Not while a grid is being published: the case would keep a cell that has ended.
  perform pg_advisory_xact_lock_shared(hashtextextended('wanmi:grid', 0));
  select * into assigned from cases.assign(array[open_case.point], array[r.class_code], array[r.condition_no],
    array[r.component_code], array[r.accuracy_m]);
  if assigned.cell_id is null then
    refusal := 'outside';
    return;
  end if;
  if r.class_code is null then  -- who is responsible for what is not known yet
    assigned.unit_id := null; assigned.assisting_ids := '{}'; assigned.basis := 'nobody'; assigned.resolved_by := null;
    assigned.rule_id := null;
  end if;
  perform cases.ensure_partition(extract(year from today)::integer);
  no := to_char(today, 'YYYYMMDD')::bigint * 1000000 + nextval('cases.serial');
  told := jsonb_build_object('edition', open_case.edition, 'cell_id', assigned.cell_id, 'placed', assigned.placed,
    'placed_m', assigned.placed_m, 'border_m', assigned.border_m, 'border_code', assigned.border_code,
    'component_m', assigned.component_m);
  if r.act = 'report' then
    told := told || jsonb_build_object('clock', 'acceptance',
      'clock_yellow_at', at + make_interval(secs => 0.8 * acceptance_s),
      'clock_due_at', at + make_interval(secs => acceptance_s), 'clocks', jsonb_build_object('acceptance',
        jsonb_build_object('state', 'running', 'allowed_s', acceptance_s, 'works', false, 'used_s', 0, 'since', at)));
  else
    told := told || jsonb_build_object('disposed_at', at);
  end if;
  insert into cases.case (no, channel, edition, class_code, condition_no, component_code, geom, accuracy_m, address,
    description, reported_at, disposed_at, stage, last_seq, acted_at, cell_id, placed, placed_m, border_m, border_code,
    component_m, unit_id, assisting_ids, basis, resolved_by, rule_id, data_source, clocks, clock, clock_yellow_at,
    clock_due_at)
  values (open_case.no, r.channel, open_case.edition, r.class_code, r.condition_no, r.component_code, r.geom, r.accuracy_m,
    r.address, r.description, r.reported_at, case r.act when 'self_dispose' then at end, r.stage, 1, at, assigned.cell_id,
    assigned.placed, assigned.placed_m, assigned.border_m, assigned.border_code, assigned.component_m, assigned.unit_id,
    assigned.assisting_ids, assigned.basis, assigned.resolved_by, assigned.rule_id, r.data_source,
    coalesce(told -> 'clocks', '{}'), told ->> 'clock', coalesce((told ->> 'clock_yellow_at')::timestamptz, 'infinity'),
    coalesce((told ->> 'clock_due_at')::timestamptz, 'infinity'));
  insert into cases.event (case_no, seq, at, actor, role, from_stage, act, to_stage, unit_id, assisting_ids, basis,
    resolved_by, rule_id, data, facts)
  values (open_case.no, 1, at, open_case.actor, open_case.role, 'none', r.act, r.stage, assigned.unit_id,
    assigned.assisting_ids, assigned.basis, assigned.resolved_by, assigned.rule_id,
    jsonb_build_object('channel', r.channel, 'key', r.key, 'verified', r.verified), told);
  update cases.report q set case_no = open_case.no where q.id = r.id;
  if photos is not null then
    perform cases.attach(open_case.no, 1, r.geom, photos);
  end if;
end $$;
comment on function cases.open_case is 'Open a case for one report that has just come in, assigned, in one round trip; or say why not';

-- Acts that set a deadline may hold it together; who changes the calendar waits for them, and they for him. It is locked first
-- and read then.
create or replace function cases.hold_calendar(alone boolean) returns table (id bigint, since timestamptz) language plpgsql as $$
#variable_conflict use_column
begin
  if alone then
    lock table cases.calendar in exclusive mode;
  else
    lock table cases.calendar in row share mode;
  end if;
  return query select c.id, c.since from cases.calendar c order by c.id desc limit 1;
end $$;
comment on function cases.hold_calendar is 'Keep the work calendar as it is until the transaction ends; which one holds';

-- A case held against others, as the rules need to see it: one transaction at a time acts on it. It is locked first and read
-- then: what another has just written is seen. of_unit: of who asks; sent_key: of the act that is sent; held false: only read.
create or replace function cases.hold(case_no bigint, of_unit text, sent_key text, held boolean)
returns table (
  no bigint, stage text, last_seq integer, acted_at timestamptz, reported_at timestamptz, edition text, class_code text,
  condition_no integer, component_code text, x double precision, y double precision, srid integer, accuracy_m double precision,
  cell_code text, area_class text, unit_id bigint, unit_code text, assisting_ids bigint[], basis text, rule_id bigint,
  clocks jsonb, collector_code text, turn_backs integer, reworks integer, extensions integer, suspensions integer,
  suspended_until timestamptz, waits_for text, asked_until timestamptz, forced boolean, stood_in boolean, appeal text,
  same_as bigint, escalated boolean, due_at timestamptz, disposed_at timestamptz, leads boolean, assists boolean,
  limit_value double precision, limit_basis text, seen_seq integer, seen_act text, "now" timestamptz)
language plpgsql set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  own bigint[];
begin
  if hold.held then
    perform pg_advisory_xact_lock_shared(hashtextextended('wanmi:grid', 0));  -- before the row, as who publishes a grid
    perform from cases.case c where c.no = hold.case_no for update;
  end if;
  if hold.of_unit is not null then
    own := array(select u.id from layers.units_below(hold.of_unit) u);
  end if;
  return query
  select c.no, c.stage, c.last_seq, c.acted_at, c.reported_at, c.edition, c.class_code, c.condition_no, c.component_code,
    st_x(c.geom), st_y(c.geom), st_srid(c.geom), c.accuracy_m, g.code, g.area_class, c.unit_id, u.code, c.assisting_ids, c.basis, c.rule_id,
    c.clocks, c.collector_code, c.turn_backs, c.reworks, c.extensions, c.suspensions, c.suspended_until, c.waits_for,
    c.asked_until, c.forced, c.stood_in, c.appeal, c.same_as, c.escalated, c.due_at, c.disposed_at,
    coalesce(c.unit_id = any (own), false), coalesce(c.assisting_ids && own, false), t.value, t.basis, e.seq, e.act,
    greatest(clock_timestamp(), c.acted_at)
  from cases.case c
  join grids.cell g on g.id = c.cell_id
  left join layers.unit u on u.id = c.unit_id
  left join lateral cases.limit_of(c.edition, c.class_code, c.condition_no, g.area_class) t on true
  left join lateral (
    select k.seq, k.act from cases.event k where k.case_no = c.no and k.key = hold.sent_key limit 1) e on hold.sent_key is not null
  where c.no = hold.case_no;
end $$;
comment on function cases.hold is 'A case held against others, as the rules need to see it';

create or replace function cases.limit_of(
  edition text, class_code text, condition_no integer, area_class text, out value double precision, out basis text)
language sql stable as $$
  select t.value, t.basis from layers.time_limit t
  where t.edition = limit_of.edition and t.class_code = limit_of.class_code and t.condition_no = limit_of.condition_no
    and t.area_class = limit_of.area_class
$$;
comment on function cases.limit_of is 'The disposal limit of class, condition and area class; nothing where the catalogue has none';

-- Write an act: the event, and the columns of the case that it changes (facts), which are kept in the event, so that the case
-- can be told anew from its events. The caller holds the case (cases.hold). The keys of cases.event refuse what is not allowed.
create or replace function cases.move(
  case_no bigint, seq integer, at timestamptz, actor text, role text, from_stage text, act text, to_stage text, note text,
  worked interval, facts jsonb, data jsonb, key text, photos jsonb)
returns void language plpgsql as $$
#variable_conflict use_column
declare
  k cases.case;
  assigned boolean := facts ? 'basis';
begin
  select * into k from cases.case c where c.no = move.case_no;
  k := jsonb_populate_record(k, move.facts);
  insert into cases.event (case_no, seq, at, actor, role, from_stage, act, to_stage, note, unit_id, assisting_ids, basis,
    resolved_by, rule_id, worked, data, facts, key)
  values (move.case_no, move.seq, move.at, move.actor, move.role, move.from_stage, move.act, move.to_stage, move.note,
    case when assigned then k.unit_id end, case when assigned then k.assisting_ids end, case when assigned then k.basis end,
    case when assigned then k.resolved_by end, case when assigned then k.rule_id end, move.worked,
    nullif(move.data, '{}'), nullif(move.facts, '{}'), move.key);
  update cases.case c set stage = move.to_stage, last_seq = move.seq, acted_at = move.at,
    class_code = k.class_code, condition_no = k.condition_no, component_code = k.component_code, geom = k.geom,
    accuracy_m = k.accuracy_m, address = k.address, due_at = k.due_at, disposed_at = k.disposed_at, closed_at = k.closed_at,
    cell_id = k.cell_id, placed = k.placed, placed_m = k.placed_m, border_m = k.border_m, border_code = k.border_code,
    component_m = k.component_m, unit_id = k.unit_id, assisting_ids = k.assisting_ids, basis = k.basis,
    resolved_by = k.resolved_by, rule_id = k.rule_id, clocks = k.clocks, clock = k.clock,
    clock_yellow_at = k.clock_yellow_at, clock_due_at = k.clock_due_at, collector_code = k.collector_code,
    turn_backs = k.turn_backs, reworks = k.reworks, extensions = k.extensions, suspensions = k.suspensions,
    suspended_until = k.suspended_until, waits_for = k.waits_for, asked_until = k.asked_until, forced = k.forced,
    stood_in = k.stood_in, appeal = k.appeal, same_as = k.same_as, escalated = k.escalated
  where c.no = move.case_no;
  perform cases.attach(move.case_no, move.seq, k.geom, move.photos);
end $$;
comment on function cases.move is 'Write an act: its event with the facts it changes, and the case after it';

create or replace function cases.attach(case_no bigint, seq integer, point geometry, photos jsonb)
returns void language sql as $$
  insert into cases.attachment (case_no, seq, n, kind, sha256, distance_m)
  select attach.case_no, attach.seq, p.n, p.photo ->> 'kind', p.photo ->> 'sha256',
    st_distance(st_transform(st_setsrid(st_makepoint(f.lon, f.lat), 4326), st_srid(attach.point)), attach.point)
  from jsonb_array_elements(coalesce(photos, '[]')) with ordinality p (photo, n)
  left join cases.photo f on f.sha256 = p.photo ->> 'sha256'
$$;
comment on function cases.attach is 'Keep which photos an event brought, and how far from the case they were taken';

-- A case told anew from its report and its events; null where an older version of this system wrote the first event without
-- its facts. It is the row of cases.case, exactly (a law that is tested).
create or replace function cases.replay(case_no bigint) returns cases.case language plpgsql stable as $$
#variable_conflict use_column
declare
  k cases.case;
  e cases.event;
begin
  k := jsonb_populate_record(null::cases.case, jsonb_build_object('no', case_no, 'assisting_ids', '{}', 'clocks', '{}'::jsonb,
    'clock_yellow_at', 'infinity', 'clock_due_at', 'infinity', 'turn_backs', 0, 'reworks', 0, 'extensions', 0,
    'suspensions', 0, 'forced', false, 'stood_in', false, 'escalated', false));
  select r.channel, r.class_code, r.condition_no, r.component_code, r.geom, r.accuracy_m, r.address, r.description,
    r.reported_at, r.data_source
  into k.channel, k.class_code, k.condition_no, k.component_code, k.geom, k.accuracy_m, k.address, k.description,
    k.reported_at, k.data_source
  from cases.report r where r.case_no = replay.case_no;
  for e in select * from cases.event v where v.case_no = replay.case_no order by v.seq loop
    if e.seq = 1 and e.facts is null then
      return null;
    end if;
    k := jsonb_populate_record(k, coalesce(e.facts, '{}'));
    if e.basis is not null then
      k.unit_id := e.unit_id; k.assisting_ids := e.assisting_ids; k.basis := e.basis; k.resolved_by := e.resolved_by;
      k.rule_id := e.rule_id;
    end if;
    k.stage := e.to_stage; k.last_seq := e.seq; k.acted_at := e.at;
  end loop;
  return k;
end $$;
comment on function cases.replay is 'A case told anew from its report and its events';

-- The radius of a place's error circle where one cell holds all of it and no red line of a zone comes near; else null: then
-- cases.parts_of_circle says who could be meant.
create or replace function cases.undisputed_within(point geometry, accuracy_m double precision, at timestamptz)
returns double precision language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
  reach_m double precision := (select least(greatest(accuracy_m, g.border_tolerance_m), 1000) from grids.city g);
begin
  if (select count(*) from (
      select 1 from grids.cell c where upper_inf(c.valid) and lower(c.valid) <= at and st_dwithin(c.geom, point, reach_m)
      union all
      select 1 from grids.cell c where not upper_inf(c.valid) and c.valid @> at and st_dwithin(c.geom, point, reach_m)
      limit 2) q) = 1
    and not exists (select from cases.rule r where upper_inf(r.valid) and r.zone is not null and st_dwithin(r.zone, point, reach_m))
    and not exists (select from cases.rule r where not upper_inf(r.valid) and r.zone is not null and st_dwithin(r.zone, point, reach_m))
  then
    return reach_m;
  end if;
  return null;
end $$;
comment on function cases.undisputed_within is 'The radius of the error circle where one cell holds it and no red line comes near; else null';

-- All that is known of a case, for who sees the work of some units or (null) of all. One plan for all: with partitions it takes
-- longer to make than to run.
create or replace function cases.read(case_no bigint, unit_ids bigint[])
returns table (
  no bigint, channel text, class_code text, class_zh text, class_en text, condition_no integer, condition_zh text,
  condition_en text, component_code text, component_m double precision, x double precision, y double precision,
  lon double precision, lat double precision, accuracy_m double precision, address text, description text,
  reported_at timestamptz, due_at timestamptz, disposed_at timestamptz, closed_at timestamptz, stage text, stage_zh text,
  stage_en text, is_end boolean, last_seq integer, cell_code text, placed text, placed_m double precision,
  border_m double precision, border_code text, basis text, resolved_by text, rule_code text, source_document text,
  source_on date, data_source text, undisputed_m double precision, assigned_at timestamptz, unit json, assisting json, areas json, events json,
  reporter text, linked bigint[])
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
return query
select c.no, c.channel, c.class_code, l.name_zh as class_zh, l.name_en as class_en, c.condition_no, k.condition_zh,
  k.condition_en, c.component_code, c.component_m, st_x(c.geom) as x, st_y(c.geom) as y,
  st_x(st_transform(c.geom, 4326)) as lon, st_y(st_transform(c.geom, 4326)) as lat, c.accuracy_m, c.address, c.description, c.reported_at, c.due_at,
  c.disposed_at, c.closed_at, c.stage, s.name_zh as stage_zh, s.name_en as stage_en, s.is_end, c.last_seq,
  g.code as cell_code, c.placed, c.placed_m, c.border_m, c.border_code, c.basis, c.resolved_by,
  r.code as rule_code, r.source_document, r.source_on, c.data_source,
  case when c.placed = 'inside' then cases.undisputed_within(c.geom, c.accuracy_m, (
    select max(e.at) from cases.event e where e.case_no = c.no and e.basis is not null)) end, (
    select max(e.at) from cases.event e where e.case_no = c.no and e.basis is not null) as assigned_at, (
    select json_build_object('code', u.code, 'name_zh', u.name_zh, 'name_en', u.name_en, 'kind', u.kind)
    from layers.unit u where u.id = c.unit_id) as unit, (
    select coalesce(json_agg(json_build_object('code', u.code, 'name_zh', u.name_zh, 'name_en', u.name_en, 'kind', u.kind)
      order by array_position(c.assisting_ids, u.id)), '[]')
    from layers.unit u where u.id = any (c.assisting_ids)) as assisting, (
    select coalesce(json_agg(json_build_object('level', a.level, 'code', a.code, 'name_zh', a.name_zh, 'name_en', a.name_en)
      order by length(a.code) desc), '[]')
    from grids.area a where a.code = any (grids.area_prefixes(g.code)) and upper_inf(a.valid)) as areas, (
    select json_agg(q) from (
      select e.seq, e.at, e.actor, e.role, e.act, e.from_stage, e.to_stage, e.note, u.code as unit_code,
        e.data ->> 'instead_of' as instead_of, extract(epoch from e.worked)::double precision as worked_s,
        extract(epoch from e.at - lag(e.at) over (order by e.seq))::double precision as passed_s, e.data, (
          select coalesce(json_agg(json_build_object('kind', a.kind, 'sha256', a.sha256, 'taken_at', f.taken_at,
            'distance_m', a.distance_m) order by a.n), '[]')
          from cases.attachment a join cases.photo f on f.sha256 = a.sha256 where a.case_no = e.case_no and a.seq = e.seq) as photos
      from cases.event e left join layers.unit u on u.id = e.unit_id where e.case_no = c.no order by e.seq) q) as events, (
    select r.reporter from cases.report r where r.case_no = c.no) as reporter,
  array(select f.no from cases.case f where f.same_as = c.no order by f.no) as linked
from cases.case c
left join layers.class l on l.edition = c.edition and l.code = c.class_code
left join layers.condition k on k.edition = c.edition and k.class_code = c.class_code and k.no = c.condition_no
join cases.stage s on s.code = c.stage
join grids.cell g on g.id = c.cell_id
left join cases.rule r on r.id = c.rule_id
where c.no = read.case_no and (read.unit_ids is null or c.unit_id = any (read.unit_ids) or c.assisting_ids && read.unit_ids);
end $$;
comment on function cases.read is 'All that is known of a case, with everything that happened to it';

-- Whether a case is among those that a desk is narrowed to; null: not narrowed.
create or replace function cases.is_wanted(c cases.case, classes text[], areas text[], sources text[], light text)
returns boolean language sql stable as $$
  select (classes is null or c.class_code ^@ any (classes)) and (sources is null or c.channel = any (sources))
    and (areas is null or exists (select from grids.cell g where g.id = c.cell_id and g.code ^@ any (areas)))
    and case light when 'red' then c.clock_due_at < now() when 'yellow' then c.clock_yellow_at <= now() and c.clock_due_at >= now()
      when 'green' then c.clock_yellow_at > now() and c.clock is not null else true end
$$;
comment on function cases.is_wanted is 'Whether a case is among those that a desk is narrowed to';

-- A page of a desk, what is due first: at stages; of units, dispatched; of a collector; what waits for a decision; appeals; what was
-- escalated. What is null or empty is not asked for. Each part is read in the order of an index, no further than a page.
create or replace function cases.queue(
  stages text[], unit_ids bigint[], collector text, asked text[], appealed boolean, overdue boolean,
  after_due_at timestamptz, after_no bigint, most integer, classes text[], areas text[], sources text[], light text)
returns table (
  no bigint, stage text, channel text, class_code text, condition_no integer, address text, description text, cell_code text,
  unit_id bigint, unit_code text, unit_zh text, unit_en text, collector_code text, reported_at timestamptz, clock text,
  clock_yellow_at timestamptz, clock_due_at timestamptz, waits_for text, suspended_until timestamptz, appeal text,
  escalated boolean, turn_backs integer, reworks integer, extensions integer, class_zh text, class_en text,
  lon double precision, lat double precision)
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  plain boolean := classes is null and areas is null and sources is null and light is null;
begin
return query
with found as materialized (
  select q.no, q.due_at from (
    select k.no, k.due_at from unnest(queue.stages) s (code) cross join lateral (
      select c.no, c.clock_due_at as due_at from cases.case c
      where c.stage = s.code and (c.clock_due_at, c.no) > (after_due_at, after_no)
        and (c.same_as is null or c.stage not in ('reported', 'verifying', 'accepted', 'filed'))
        and (plain or cases.is_wanted(c, queue.classes, queue.areas, queue.sources, queue.light))
      order by c.clock_due_at, c.no limit most) k
    union
    select k.no, k.due_at from unnest(queue.unit_ids) u (id) cross join lateral (
      select c.no, c.clock_due_at as due_at from cases.case c
      where c.stage = 'dispatched' and c.unit_id = u.id and (c.clock_due_at, c.no) > (after_due_at, after_no)
        and (plain or cases.is_wanted(c, queue.classes, queue.areas, queue.sources, queue.light))
      order by c.clock_due_at, c.no limit most) k
    union
    (select c.no, c.clock_due_at from cases.case c
     where c.collector_code = queue.collector and (c.clock_due_at, c.no) > (after_due_at, after_no)
       and (plain or cases.is_wanted(c, queue.classes, queue.areas, queue.sources, queue.light))
     order by c.clock_due_at, c.no limit most)
    union
    select k.no, k.due_at from unnest(queue.asked) a (thing) cross join lateral (
      select c.no, c.clock_due_at as due_at from cases.case c
      where c.waits_for = a.thing and (c.clock_due_at, c.no) > (after_due_at, after_no)
        and (plain or cases.is_wanted(c, queue.classes, queue.areas, queue.sources, queue.light))
      order by c.clock_due_at, c.no limit most) k
    union
    select c.no, c.clock_due_at from cases.case c
    where queue.appealed and c.appeal = 'asked' and (c.clock_due_at, c.no) > (after_due_at, after_no)
      and (plain or cases.is_wanted(c, queue.classes, queue.areas, queue.sources, queue.light))
    union
    (select c.no, c.clock_due_at from cases.case c
     where queue.overdue and c.escalated and (c.clock_due_at, c.no) > (after_due_at, after_no)
       and (plain or cases.is_wanted(c, queue.classes, queue.areas, queue.sources, queue.light))
     order by c.clock_due_at, c.no limit most)) q
  order by q.due_at, q.no limit most)
select c.no, c.stage, c.channel, c.class_code, c.condition_no, c.address, c.description, g.code, c.unit_id, u.code, u.name_zh,
  u.name_en, c.collector_code, c.reported_at, c.clock, nullif(c.clock_yellow_at, 'infinity'), nullif(c.clock_due_at, 'infinity'),
  c.waits_for, c.suspended_until, c.appeal, c.escalated, c.turn_backs, c.reworks, c.extensions, l.name_zh, l.name_en,
  st_x(st_transform(c.geom, 4326)), st_y(st_transform(c.geom, 4326))
from found f
cross join lateral (select * from cases.case k where k.no = f.no limit 1) c  -- with a limit it stays a look-up by index
cross join lateral (select k.code from grids.cell k where k.id = c.cell_id limit 1) g
left join layers.class l on l.edition = c.edition and l.code = c.class_code
left join layers.unit u on u.id = c.unit_id
order by f.due_at, f.no;
end $$;
comment on function cases.queue is 'A page of a desk, what is due first';

-- Where a case is and who is responsible, anew, as facts for cases.move. Not while a grid is being published.
create or replace function cases.renewed(
  point geometry, class_code text, condition_no integer, component_code text, accuracy_m double precision)
returns jsonb language plpgsql as $$
#variable_conflict use_column
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('wanmi:grid', 0));
  return (
    select jsonb_build_object('cell_id', a.cell_id, 'cell_code', a.cell_code, 'area_class', c.area_class, 'placed', a.placed,
      'placed_m', a.placed_m, 'border_m', a.border_m, 'border_code', a.border_code, 'component_m', a.component_m,
      'unit_id', a.unit_id, 'unit_code', u.code, 'assisting_ids', a.assisting_ids, 'basis', a.basis,
      'resolved_by', a.resolved_by, 'rule_id', a.rule_id, 'geom', renewed.point::text)
    from cases.assign(array[point], array[class_code], array[condition_no], array[component_code], array[accuracy_m]) a
    left join grids.cell c on c.id = a.cell_id left join layers.unit u on u.id = a.unit_id);
end $$;
comment on function cases.renewed is 'Where a place is and who is responsible now, as facts of a case';

-- Who verifies or checks at a place: the collector who walks the cell, if on duty; else the nearest on duty, by where each was
-- last seen today, or by the cells each walks.
create or replace function cases.collector_for(cell_code text, point geometry, not_code text)
returns table (code text, name_zh text, name_en text, why text) language plpgsql stable as $$
#variable_conflict use_column
begin
  return query
    select k.code, k.name_zh, k.name_en, 'walks'
    from grids.responsibility_cell m
    join grids.responsibility r on r.id = m.responsibility_id and upper_inf(r.valid)
    join layers.collector k on k.code = r.collector_code and k.on_duty
    where m.cell_code = collector_for.cell_code and k.code is distinct from not_code
    order by r.code limit 1;
  if found then
    return;
  end if;
  return query
    select q.code, q.name_zh, q.name_en, 'nearest' from (
      select k.code, k.name_zh, k.name_en, st_distance(k.place, point) as m from layers.collector k
      where k.on_duty and k.place is not null and k.seen_at > clock_timestamp() - interval '12 hours'
      union all
      (select k.code, k.name_zh, k.name_en, st_distance(c.geom, point) from grids.cell c
       join grids.responsibility_cell m on m.cell_code = c.code
       join grids.responsibility r on r.id = m.responsibility_id and upper_inf(r.valid)
       join layers.collector k on k.code = r.collector_code and k.on_duty and k.code is distinct from not_code
       where upper_inf(c.valid) order by c.geom <-> point limit 1)) q
    where q.code is distinct from not_code order by q.m, q.code limit 1;
end $$;
comment on function cases.collector_for is 'Who verifies or checks at a place: the collector of the cell, else the nearest on duty';

create or replace trigger case_written after insert or update or delete or truncate on cases.case
  for each statement execute function gis.count_write('cases');

create or replace view served.case as
  select e.no, e.channel, e.class_code, l.name_zh as class_zh, l.name_en as class_en, e.condition_no, e.component_code,
    e.stage, s.name_zh as stage_zh, e.reported_at, e.due_at, e.disposed_at, e.closed_at, k.code as cell_code,
    k.community_code, u.name_zh as unit_zh, u.name_en as unit_en, e.basis, e.resolved_by, r.code as rule_code,
    e.placed, e.border_m, e.component_m, e.data_source, c.simulated, e.geom,
    s.name_en as stage_en, s.is_end, u.code as unit_code, e.unit_id, e.assisting_ids, e.same_as, e.reworks, e.turn_backs
  from cases.case e
  join grids.cell k on k.id = e.cell_id
  left join layers.class l on l.edition = e.edition and l.code = e.class_code
  join cases.stage s on s.code = e.stage
  left join layers.unit u on u.id = e.unit_id
  left join cases.rule r on r.id = e.rule_id
  cross join grids.city c;
comment on view served.case is 'Cases with the names of class, stage, cell, unit and rule';

-- The grid was redrawn: open cases get the cell that now covers them and are assigned anew; an event says so where
-- cell, unit, basis, rule or the border near by are others than before. Closed cases keep the version of the cell they had. A case that
-- no cell covers or is near keeps its old version too, and is named.
create or replace function cases.reassign(ended_ids bigint[], begun_ids bigint[], actor text, edition bigint)
returns table (
  no bigint, from_code text, to_code text, from_unit text, to_unit text, noted boolean, lost boolean)
language plpgsql as $$
#variable_conflict use_column
declare
  ended_codes text[] := (select array_agg(c.code) from grids.cell c where c.id = any (ended_ids));
  now timestamptz := clock_timestamp();
begin
  create temporary table if not exists rehousing (
    no bigint, ord bigint, stage text, last_seq integer, from_code text, to_code text, from_unit_id bigint, cell_id bigint,
    placed text, placed_m double precision, border_m double precision, border_code text, component_m double precision,
    unit_id bigint, assisting_ids bigint[], basis text, resolved_by text, rule_id bigint, noted boolean) on commit drop;
  truncate rehousing;
  insert into rehousing (no, ord, stage, last_seq, from_code, from_unit_id)
  select q.no, row_number() over (order by q.no), q.stage, q.last_seq, k.code, q.unit_id
  from (
    select c.no, c.stage, c.last_seq, c.cell_id, c.unit_id from cases.case c
    join cases.stage s on s.code = c.stage and not s.is_end
    where c.cell_id = any (ended_ids) or c.border_code = any (ended_codes) or c.no in (
      select n.no from grids.cell b cross join grids.city
      join cases.case n on st_dwithin(n.geom, b.geom, city.border_tolerance_m) where b.id = any (begun_ids))
      or c.accuracy_m is not null and c.no in (  -- by index first, then by the reach of each
      select n.no from grids.cell b
      join cases.case n on n.accuracy_m is not null and st_dwithin(n.geom, b.geom, 1000) and st_dwithin(n.geom, b.geom, n.accuracy_m)
      where b.id = any (begun_ids))
    order by c.no for update of c) q
  join grids.cell k on k.id = q.cell_id;

  -- What a dispatcher decided stands: such a case follows the cells, and keeps its unit.
  update rehousing r set cell_id = a.cell_id, to_code = a.cell_code, placed = a.placed, placed_m = a.placed_m,
    border_m = a.border_m, border_code = a.border_code, component_m = a.component_m,
    unit_id = case when c.basis = 'decision' then c.unit_id else a.unit_id end,
    assisting_ids = case when c.basis = 'decision' then c.assisting_ids else a.assisting_ids end,
    basis = case when c.basis = 'decision' then c.basis else a.basis end,
    resolved_by = case when c.basis = 'decision' then c.resolved_by else a.resolved_by end,
    rule_id = case when c.basis = 'decision' then c.rule_id else a.rule_id end,
    noted = r.from_code is distinct from a.cell_code or c.basis <> 'decision'
      and (c.unit_id, c.basis, c.resolved_by, c.rule_id) is distinct from (a.unit_id, a.basis, a.resolved_by, a.rule_id)
  from (
    select array_agg(c.geom order by h.ord) as points, array_agg(c.class_code order by h.ord) as classes,
      array_agg(c.condition_no order by h.ord) as conditions, array_agg(c.component_code order by h.ord) as components,
      array_agg(c.accuracy_m order by h.ord) as reaches_m
    from rehousing h join cases.case c on c.no = h.no) q
  cross join lateral cases.assign(q.points, q.classes, q.conditions, q.components, q.reaches_m) a, cases.case c
  where r.ord = a.ord and c.no = r.no and a.cell_id is not null;
  -- A neighbour's case whose own cell did not change is only looked at for its border.
  delete from rehousing r using cases.case c
  where c.no = r.no and not coalesce(r.noted, false) and r.cell_id = c.cell_id
    and (r.border_m, r.border_code) is not distinct from (c.border_m, c.border_code);

  insert into cases.event (case_no, seq, at, actor, role, from_stage, act, to_stage, note, unit_id, assisting_ids, basis,
    resolved_by, rule_id, data, facts)
  select r.no, r.last_seq + 1, now, reassign.actor, 'system', r.stage, 'assign', r.stage, 'the grid was redrawn | 网格调整',
    r.unit_id, r.assisting_ids, r.basis, r.resolved_by, r.rule_id,
    jsonb_build_object('edition', reassign.edition, 'from_cell', r.from_code, 'to_cell', r.to_code),
    jsonb_build_object('cell_id', r.cell_id, 'placed', r.placed, 'placed_m', r.placed_m, 'border_m', r.border_m,
      'border_code', r.border_code, 'component_m', r.component_m)
  from rehousing r where r.cell_id is not null order by r.no;
  update cases.case c
  set cell_id = r.cell_id, placed = r.placed, placed_m = r.placed_m, border_m = r.border_m, border_code = r.border_code,
    component_m = r.component_m, unit_id = r.unit_id, assisting_ids = r.assisting_ids, basis = r.basis,
    resolved_by = r.resolved_by, rule_id = r.rule_id, last_seq = r.last_seq + 1, acted_at = now
  from rehousing r where c.no = r.no and r.cell_id is not null;

  return query
    select r.no, r.from_code, r.to_code, f.code, t.code, coalesce(r.noted, false), r.cell_id is null
    from rehousing r left join layers.unit f on f.id = r.from_unit_id left join layers.unit t on t.id = r.unit_id
    order by r.no;
end $$;
comment on function cases.reassign is 'After grids.publish: open cases follow the new cells and are assigned anew; returns those that were touched';
