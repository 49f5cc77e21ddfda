-- name: insert_city
insert into grids.city (id, name_zh, name_en, timezone, simulated, attribution, tolerance_m, border_tolerance_m,
  profile, findings)
values (:id, :name_zh, :name_en, :timezone, :simulated, :attribution, :tolerance_m, :border_tolerance_m,
  cast(:profile as jsonb), cast(:findings as jsonb));

-- name: city_is_loaded
select id from grids.city;

-- name: read_city_row
select id, name_zh, name_en, timezone, simulated, attribution, findings, loaded_at from grids.city;

-- name: responsibility_ids
select code, id from grids.responsibility where upper_inf(valid);

-- name: cities_now
select code, geom from grids.area where upper_inf(valid) and level = 'city';

-- name: counts_of_areas
select level, count(*) as areas, sum(st_area(geom)) / 1e6 as area_km2 from grids.area where upper_inf(valid)
group by level order by min(length(code));

-- name: counts_of_cells
select count(*) as cells, avg(area_m2) as mean_m2, percentile_cont(array[0.05, 0.5, 0.95]) within group (order by area_m2) as spread_m2
from grids.cell where upper_inf(valid);

-- name: responsibility_grids
select count(*) from grids.responsibility where upper_inf(valid);

-- name: areas_of_cells
select k.code as cell_code, a.level, a.code, a.name_zh, a.name_en
from unnest(cast(:codes as text[])) k (code)
join grids.area a on a.code = any (grids.area_prefixes(k.code))
  and lower(a.valid) <= :at and (upper_inf(a.valid) or upper(a.valid) > :at)
order by k.code, length(a.code) desc;

-- name: grid_began
select min(lower(valid)) from grids.cell;

-- name: bounds_of_city
select st_xmin(b) as west, st_ymin(b) as south, st_xmax(b) as east, st_ymax(b) as north
from (select st_extent(st_transform(st_envelope(geom), 4326)) as b from grids.area where upper_inf(valid)) q;

-- name: extent_of_city
select st_xmin(b) as west, st_ymin(b) as south, st_xmax(b) as east, st_ymax(b) as north
from (select st_extent(geom) as b from grids.area where upper_inf(valid)) q;

-- name: find_cells
select 'cell' as kind, code, code as title_zh, code as title_en, st_transform(st_pointonsurface(geom), 4326) as point,
  st_transform(st_envelope(geom), 4326) as box
from grids.cell where upper_inf(valid) and code like :prefix order by code limit :most;

-- name: find_areas
select 'area' as kind, code, name_zh as title_zh, name_en as title_en, st_transform(st_pointonsurface(geom), 4326) as point,
  st_transform(st_envelope(geom), 4326) as box
from grids.area where upper_inf(valid) and (code like :prefix or name_zh ilike :part or name_en ilike :part)
order by length(code), code limit :most;

-- name: find_streets
select 'street' as kind, '' as code, name_zh as title_zh, name_en as title_en,
  st_transform(st_pointonsurface(st_collect(geom)), 4326) as point, st_transform(st_envelope(st_collect(geom)), 4326) as box
from grids.barrier where upper_inf(valid) and kind = 'street' and (name_zh ilike :part or name_en ilike :part)
group by name_zh, name_en order by sum(st_length(geom)) desc limit :most;

-- ── editions ─────────────────────────────────────────────────────────────────────────────────────────────────
-- name: ground_of_drafts
select find_srid('grids', 'cell', 'geom') as srid,
  coalesce((select (profile ->> 'cell_digits')::integer from grids.city), 15) as digits,
  coalesce((select (profile ->> 'target_cell_m2')::double precision from grids.city), 10000) as target_m2;

-- name: lock_publishing
-- One at a time publishes or copies today's cells. Cases go on opening until grids.publish itself locks them out.
select pg_advisory_xact_lock(hashtextextended('wanmi:publishing', 0));

-- name: open_draft
insert into grids.edition (communities, note, base_ids, opened_by, saved_by)
select cast(:communities as text[]), :note,
  array(select id from grids.cell where upper_inf(valid) and community_code = any (cast(:communities as text[])) order by id),
  :actor, :actor
returning id;

-- name: hold_communities
insert into grids.draft_community (community_code, edition_id)
select code, :edition from unnest(cast(:communities as text[])) code order by code
on conflict (community_code) do nothing returning community_code;

-- name: holders_of_communities
select community_code, edition_id from grids.draft_community
where community_code = any (cast(:communities as text[])) and edition_id <> :edition order by community_code;

-- name: copy_into_draft
insert into grids.draft_cell (edition_id, code, area_class, geom)
select e.id, c.code, c.area_class, c.geom from grids.edition e join grids.cell c on c.id = any (e.base_ids)
where e.id = :edition;

-- name: lock_draft
select id, communities, note, state, revision from grids.edition where id = :edition for update;

-- name: save_draft
update grids.edition set revision = revision + 1, saved_by = :actor, saved_at = clock_timestamp() where id = :edition
returning revision;

-- name: end_draft
update grids.edition set state = 'dropped', ended_by = :actor, ended_at = clock_timestamp() where id = :edition;

-- name: free_communities
delete from grids.draft_community where edition_id = :edition;

-- name: empty_draft
delete from grids.draft_cell where edition_id = :edition;

-- name: list_drafts
select e.id, e.communities, e.note, e.state, e.revision, e.opened_by, e.opened_at, e.saved_by, e.saved_at, e.ended_by,
  e.ended_at, coalesce(n.cells, 0) as cells
from grids.edition e
left join (select edition_id, count(*) as cells from grids.draft_cell group by edition_id) n on n.edition_id = e.id
where (cast(:edition as bigint) is null and (e.state = 'draft' or :ended)) or e.id = :edition
order by e.id desc limit :most;

-- name: draft_cells
select code, area_class, geom from grids.draft_cell where edition_id = :edition and not outside order by code;

-- name: base_cells
select c.code, c.area_class, c.geom from grids.edition e join grids.cell c on c.id = any (e.base_ids)
where e.id = :edition order by c.code;

-- name: cells_around
-- Today's cells of other communities that touch the draft's; by index, which the limit keeps the planner to.
select c.code, c.area_class, c.geom from grids.cell c
where c.community_code <> all (cast(:communities as text[])) and c.id in (
  select n.id from grids.draft_cell d cross join lateral (
    select k.id from grids.cell k where upper_inf(k.valid) and st_dwithin(k.geom, d.geom, 0.01) limit 1000) n
  where d.edition_id = :edition)
order by c.code;

-- name: areas_around
select a.code, a.geom from grids.area a
where upper_inf(a.valid) and length(a.code) = 12 and (a.code = any (cast(:communities as text[])) or exists (
  select from grids.area d where upper_inf(d.valid) and d.code = any (cast(:communities as text[]))
    and st_dwithin(a.geom, d.geom, 0.01)))
order by a.code;

-- name: codes_ever_used
select code, bool_or(upper_inf(valid)) as is_now from grids.cell
where community_code = any (cast(:communities as text[])) group by code;

-- name: known_communities
select code from grids.area where upper_inf(valid) and code = any (cast(:communities as text[])) and length(code) = 12;

-- name: buildings_around
select b.geom from grids.barrier b
where upper_inf(b.valid) and b.kind = 'building' and exists (
  select from grids.area d where upper_inf(d.valid) and d.code = any (cast(:communities as text[]))
    and st_intersects(b.geom, d.geom));

-- name: barriers_around
select b.kind, b.grade, b.geom from grids.barrier b
where upper_inf(b.valid) and exists (
  select from grids.area d where upper_inf(d.valid) and d.code = any (cast(:communities as text[]))
    and st_dwithin(b.geom, d.geom, 50))
order by b.id;

-- name: publish_draft
select what, code, old_id, new_id, successor, share_of_old, share_of_new from grids.publish(:edition, :actor);

-- name: cells_at
select code, community_code, area_class, area_m2, lower(valid) as since, geom from grids.cell
where valid @> coalesce(cast(:at as timestamptz), 'infinity')
  and (cast(:communities as text[]) is null or community_code = any (cast(:communities as text[])))
order by code;

-- name: versions_of_cell
select c.id, c.code, lower(c.valid) as since, upper(c.valid) as until, c.area_m2, c.area_class, h.actor, h.reason, h.source
from grids.cell c join gis.change h on h.id = c.change_id where c.code = :code order by lower(c.valid);

-- name: lineage_of_cell
select l.old_id, o.code as old_code, l.new_id, n.code as new_code, l.edition_id, l.share_of_old, l.share_of_new,
  lower(n.valid) as at
from grids.lineage l join grids.cell o on o.id = l.old_id join grids.cell n on n.id = l.new_id
where o.code = :code or n.code = :code order by lower(n.valid), o.code, n.code;

-- grid files

-- name: cells_with_history
-- The cells that held at an instant (null: now), with the day their code was first used.
select k.code, k.area_class, f.first_since, lower(k.valid) as since, upper(k.valid) as until, k.geom
from grids.cell k join lateral (
  select min(lower(o.valid)) as first_since from grids.cell o where o.code = k.code) f on true
where (case when cast(:at as timestamptz) is null then upper_inf(k.valid) else k.valid @> cast(:at as timestamptz) end)
  and (cast(:communities as text[]) is null or k.community_code = any (cast(:communities as text[])))
order by k.code;

-- name: retired_cell_codes
select code from grids.cell group by code having not bool_or(upper_inf(valid));

-- name: areas_at
-- The areas that held at an instant ('infinity': that hold now), with their columns in served.area.
select a.code, a.level, a.parent_code, a.name_zh, a.name_en, a.data_source, c.simulated, a.geom
from grids.area a, grids.city c
where case when cast(:at as timestamptz) = 'infinity' then upper_inf(a.valid) else a.valid @> cast(:at as timestamptz) end
order by a.code;

-- name: ground_at
-- The ground that held at an instant ('infinity': that holds now), with its columns in served.ground.
select b.id, b.kind, b.grade, b.name_zh, b.name_en, b.width_m, b.data_source, c.simulated, b.geom
from grids.barrier b, grids.city c
where case when cast(:at as timestamptz) = 'infinity' then upper_inf(b.valid) else b.valid @> cast(:at as timestamptz) end
order by b.kind, b.id;

-- name: ground_of_city
select st_asbinary(st_union(geom)) from grids.area where upper_inf(valid) and level = 'city';

-- name: cells_instant
select greatest(clock_timestamp(), max(lower(valid)) + interval '1 microsecond') from grids.cell where upper_inf(valid);

-- name: end_cells
update grids.cell set valid = tstzrange(lower(valid), :at)
where code = any (cast(:codes as text[])) and upper_inf(valid) returning id;

-- name: cells_of_change
select id from grids.cell where change_id = :change_id;
