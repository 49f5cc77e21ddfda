-- Not strict, for a strict one would not be inlined: it would be planned and run by itself for each row.
create or replace function grids.area_prefixes(code text) returns text[]
language sql immutable parallel safe as $$
  select case when code is not null then array['', left(code, 4), left(code, 6), left(code, 9), left(code, 12), code] end
$$;
comment on function grids.area_prefixes is 'A cell''s code and the codes of all areas that contain it, '''' for anywhere';

create or replace view served.area as
  select a.code, a.level, a.parent_code, a.name_zh, a.name_en, a.data_source, c.simulated, a.geom
  from grids.area a, grids.city c where upper_inf(a.valid);
comment on view served.area is 'Administrative areas of today';

create or replace view served.cell as
  select k.code, k.community_code, k.area_m2, k.area_class, c.simulated, k.geom
  from grids.cell k, grids.city c where upper_inf(k.valid);
comment on view served.cell is 'Unit grid cells of today';

create or replace view served.ground as
  select b.id, b.kind, b.grade, b.name_zh, b.name_en, b.width_m, b.data_source, c.simulated, b.geom
  from grids.barrier b, grids.city c where upper_inf(b.valid);
comment on view served.ground is 'Streets, rail, water, walls, buildings and green of today';

create or replace view served.area_name as
  select a.code, a.level, a.name_zh, a.name_en, c.simulated, st_pointonsurface(a.geom) as geom
  from grids.area a, grids.city c where upper_inf(a.valid);
comment on view served.area_name is 'A point in each administrative area of today, for its name on a map';

create or replace trigger area_written after insert or update or delete or truncate on grids.area
  for each statement execute function gis.count_write('areas');
create or replace trigger cell_written after insert or update or delete or truncate on grids.cell
  for each statement execute function gis.count_write('cells');
create or replace trigger ground_written after insert or update or delete or truncate on grids.barrier
  for each statement execute function gis.count_write('ground');
