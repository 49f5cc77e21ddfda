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

-- name: areas_of_cell
select level, code, name_zh, name_en from grids.area
where upper_inf(valid) and code = any (grids.area_prefixes(:cell_code)) order by length(code) desc;
