-- Not strict, for a strict one would not be inlined: it would be planned and run by itself for each row.
create or replace function layers.class_prefixes(code text) returns text[]
language sql immutable parallel safe as $$
  select case when code is not null then array['', left(code, 1), left(code, 3), code] end
$$;
comment on function layers.class_prefixes is 'A class, its major class, its kind, and '''' for any';

create or replace view served.component as
  select k.code, k.class_code, l.name_zh as class_zh, l.name_en as class_en, k.cell_code, k.state,
    s.name_zh as supervising_zh, o.name_zh as owner_zh, m.name_zh as maintainer_zh,
    k.surveyed_on, k.changed_on, k.data_source, k.attrs, c.simulated, k.geom
  from layers.component k
  join layers.class l on l.edition = k.edition and l.code = k.class_code
  left join layers.unit s on s.id = k.supervising_unit_id
  left join layers.unit o on o.id = k.owner_unit_id
  left join layers.unit m on m.id = k.maintainer_unit_id
  cross join grids.city c
  where upper_inf(k.valid);
comment on view served.component is 'Components of today with the names of class and units';

create or replace trigger component_written after insert or update or delete or truncate on layers.component
  for each statement execute function gis.count_write('components');

-- The grid was redrawn: components follow it. Their cell is no history of theirs, so it is set where it stands.
create or replace function layers.replace_cells(ended_ids bigint[], begun_ids bigint[])
returns table (code text, from_code text, to_code text) language sql as $$
  with touched as materialized (
    select k.id, k.code, k.cell_code,
      case when st_dimension(k.geom) = 0 then k.geom else st_pointonsurface(k.geom) end as point
    from layers.component k
    where upper_inf(k.valid)
      and (k.cell_code in (select c.code from grids.cell c where c.id = any (ended_ids))
        or k.id in (
          select n.id from grids.cell c join layers.component n on upper_inf(n.valid) and st_intersects(n.geom, c.geom)
          where c.id = any (begun_ids)))
    order by k.id for update),
  placed as (
    select t.id, t.code, t.cell_code, coalesce(inside.code, near.code) as to_code
    from touched t
    left join lateral (
      select c.code from grids.cell c where upper_inf(c.valid) and st_covers(c.geom, t.point)
      order by c.code || '' limit 1) inside on true
    left join lateral (  -- a border that got a vertex may have bent away by a step of the lattice
      select c.code from grids.cell c
      where inside.code is null and t.cell_code is not null and upper_inf(c.valid) and st_dwithin(c.geom, t.point, 0.01)
      order by st_distance(c.geom, t.point), c.code limit 1) near on true),
  moved as (
    update layers.component k set cell_code = p.to_code from placed p
    where k.id = p.id and k.cell_code is distinct from p.to_code)
  select p.code, p.cell_code, p.to_code from placed p where p.cell_code is distinct from p.to_code order by p.code
$$;
comment on function layers.replace_cells is 'After grids.publish: components get the code of the cell that now covers them; returns those that moved';

-- Inlined, so that a box and other conditions reach the two indexes.
create or replace function layers.components_at(at timestamptz) returns setof layers.component
language sql stable parallel safe as $$
  select k.* from layers.component k where upper_inf(k.valid) and lower(k.valid) <= at
  union all
  select k.* from layers.component k where not upper_inf(k.valid) and k.valid @> at
$$;
comment on function layers.components_at is 'The versions of components that held at an instant';

-- The serial after the highest ever used under a prefix (district and class); many sessions get many numbers.
create or replace function layers.last_serial(prefix text) returns integer language plpgsql as $$
declare
  found text;
begin
  perform pg_advisory_xact_lock(hashtextextended('wanmi:serial:' || prefix, 0));
  select max(k.code) into found from layers.component k
  where k.code > prefix and k.code < prefix || ':' and length(k.code) = length(prefix) + 6;
  return coalesce(right(found, 6)::integer, 0);
end $$;
comment on function layers.last_serial is 'The highest serial ever used under a prefix (0: none); holds the prefix until the transaction ends';

create or replace function layers.edition_at(at timestamptz) returns text language sql stable as $$
  select coalesce(
    (select f.edition from layers.edition_in_force f where at is null or f.since <= at order by f.since desc limit 1),
    (select f.edition from layers.edition_in_force f order by f.since limit 1))
$$;
comment on function layers.edition_at is 'The edition of the catalogue in force at an instant; null: now. Before the first one, the first one';

-- A component's facts by name, attributes as attrs.NAME, what is unknown left out: what two versions differ in.
create or replace function layers.component_facts(k layers.component) returns jsonb language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('name_zh', k.name_zh, 'state', k.state,
      'supervising_unit', (select u.code from layers.unit u where u.id = k.supervising_unit_id),
      'owner_unit', (select u.code from layers.unit u where u.id = k.owner_unit_id),
      'maintainer_unit', (select u.code from layers.unit u where u.id = k.maintainer_unit_id),
      'surveyed_on', k.surveyed_on, 'changed_on', k.changed_on, 'data_source', k.data_source, 'source_key', k.source_key))
    || coalesce((select jsonb_object_agg('attrs.' || a.key, a.value) from jsonb_each(k.attrs) a), '{}')
$$;
comment on function layers.component_facts is 'The facts of a version by name, without its place';

create or replace function layers.differing(old jsonb, new jsonb) returns jsonb language sql immutable as $$
  select coalesce(jsonb_object_agg(n.name, jsonb_build_array(old -> n.name, new -> n.name)), '{}')
  from jsonb_object_keys(old || new) n (name) where old -> n.name is distinct from new -> n.name
$$;
comment on function layers.differing is 'By name: the value before and after, of what differs';

-- What a component says, in few letters: the same again after an import was undone, so that exports stay the same.
create or replace function layers.fingerprint(k layers.component) returns text language sql stable as $$
  select left(md5(row(k.name_zh, k.state, k.supervising_unit_id, k.owner_unit_id, k.maintainer_unit_id, k.surveyed_on,
    k.changed_on, k.data_source, k.source_key, k.attrs, k.geom)::text), 12)
$$;
comment on function layers.fingerprint is 'Tells whether a component is still what it was when a file was exported';

-- Inlined. The present, and a past since which no cell began, have the cell written down; else it is found by place.
create or replace function layers.cell_then(k layers.component, at timestamptz) returns text language sql stable as $$
  select case when at = 'infinity' or not exists (select from grids.cell c where lower(c.valid) > at) then k.cell_code else (
    select c.code from grids.cell c
    where c.valid @> at and st_covers(c.geom, case when st_dimension(k.geom) = 0 then k.geom else st_pointonsurface(k.geom) end)
    order by c.code || '' limit 1) end
$$;
comment on function layers.cell_then is 'The cell in which a version stood at an instant (infinity: stands now)';

create or replace function layers.places_near(here geometry)
returns table (kind text, name_zh text, name_en text, distance_m double precision, x double precision, y double precision,
  within_m integer)
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
return query
with here as (select places_near.here as point)
select * from (
  select 'door' as kind, q.*, 30 as within_m from here cross join lateral (
    select p.name_zh, p.name_en, st_distance(p.geom, here.point) as distance_m, st_x(st_centroid(p.geom)) as x, st_y(st_centroid(p.geom)) as y
    from layers.place p where upper_inf(p.valid) and p.kind = 'door' and st_dwithin(p.geom, here.point, 30)
    order by distance_m, p.code limit 1) q
  union all
  select 'road', q.*, 60 from here cross join lateral (
    select p.name_zh, p.name_en, st_distance(p.geom, here.point) as distance_m, st_x(st_centroid(p.geom)), st_y(st_centroid(p.geom))
    from layers.place p where upper_inf(p.valid) and p.kind = 'road' order by p.geom <-> here.point limit 1) q
  union all
  select 'mark', q.*, 300 from here cross join lateral (
    select p.name_zh, p.name_en, st_distance(p.geom, here.point) as distance_m, st_x(st_centroid(p.geom)), st_y(st_centroid(p.geom))
    from layers.place p where upper_inf(p.valid) and p.kind in ('crossing', 'poi', 'green') order by p.geom <-> here.point limit 1) q) n
where n.distance_m <= n.within_m;
end $$;
comment on function layers.places_near is 'The nearest door (30 m), road (60 m), and landmark (300 m: a crossing, a place of interest, a park) of a point';

create or replace function layers.units_below(unit_code text) returns table (id bigint)
language sql stable as $$
  with recursive below as (
    select u.id from layers.unit u where u.code = unit_code
    union
    select u.id from layers.unit u join below b on u.parent_id = b.id)
  select b.id from below b
$$;
comment on function layers.units_below is 'A unit and all units below it';
