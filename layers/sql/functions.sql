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
