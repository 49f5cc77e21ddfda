-- name: unit_ids
select code, id from layers.unit;

-- name: set_parent
update layers.unit set parent_id = :parent_id where id = :id;

-- name: stage_components
drop table if exists pg_temp.staged_component;
create temporary table staged_component (like layers.component including defaults) on commit drop;
alter table staged_component drop column id;

-- name: place_components
insert into layers.component (code, edition, class_code, name_zh, cell_code, supervising_unit_id, owner_unit_id,
  maintainer_unit_id, state, surveyed_on, changed_on, data_source, attrs, geom, valid, change_id)
select s.code, s.edition, s.class_code, s.name_zh, cell.code, s.supervising_unit_id, s.owner_unit_id,
  s.maintainer_unit_id, s.state, s.surveyed_on, s.changed_on, s.data_source, coalesce(s.attrs, '{}'), s.geom, s.valid,
  s.change_id
from staged_component s
left join lateral (
  select c.code from grids.cell c
  where upper_inf(c.valid)
    and st_covers(c.geom, case when st_dimension(s.geom) = 0 then s.geom else st_pointonsurface(s.geom) end)
  order by c.code || '' limit 1) cell on true;

-- name: counts_of_components
select m.code, m.name_zh, m.name_en, count(*) as components, count(k.cell_code) as in_a_cell
from layers.component k
join layers.class l on l.edition = k.edition and l.code = k.class_code
join layers.major m on m.edition = l.edition and m.code = l.major_code
where upper_inf(k.valid) group by m.code, m.name_zh, m.name_en order by m.code;

-- name: counts_of_catalogue
select count(*) filter (where kind = 'component') as component_classes, count(*) filter (where kind = 'event') as event_classes,
  (select count(*) from layers.condition) as conditions
from layers.class;

-- name: counts_of_units
select count(*) as units, (select count(*) from layers.collector) as collectors from layers.unit;

-- name: known_classes
select code, name_zh, name_en from layers.class order by code;

-- name: conditions_of_class
select no from layers.condition where class_code = :class_code order by no;

-- name: class_of_component
select class_code from layers.component where code = :code and upper_inf(valid);
