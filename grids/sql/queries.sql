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
join grids.area a on upper_inf(a.valid) and a.code = any (grids.area_prefixes(k.code))
order by k.code, length(a.code) desc;

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
