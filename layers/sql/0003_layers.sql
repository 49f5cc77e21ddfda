create schema layers;
comment on schema layers is 'What: the catalogue, the organisations, the component inventory';

create table layers.major (
  edition text not null,
  code text not null check (code ~ '^[CE][0-9]{2}$'),
  name_zh text not null,
  name_en text not null,
  primary key (edition, code)
);
comment on table layers.major is 'Major classes (大类) by edition of the catalogue';
comment on column layers.major.edition is 'Edition of the catalogue';
comment on column layers.major.code is 'Kind (C component, E event) and two digits';
comment on column layers.major.name_zh is 'Name in Chinese';
comment on column layers.major.name_en is 'Name in English';

create table layers.class (
  edition text not null,
  code text not null check (code ~ '^[CE][0-9]{4,5}$'),
  kind text not null generated always as (case left(code, 1) when 'C' then 'component' else 'event' end) stored,
  major_code text not null generated always as (left(code, 3)) stored,
  name_zh text not null,
  name_en text not null,
  geometry_type text check (geometry_type in ('Point', 'LineString', 'Polygon')),
  accuracy_class text check (accuracy_class in ('A', 'B', 'C')),
  attribute_schema jsonb not null default '{}',
  source text,
  primary key (edition, code),
  foreign key (edition, major_code) references layers.major,
  check ((left(code, 1) = 'C') = (geometry_type is not null))
);
comment on table layers.class is 'Component and event classes (小类) by edition; the code carries its kind, so that kind and major are prefixes';
comment on column layers.class.edition is 'Edition of the catalogue';
comment on column layers.class.code is 'Kind (C component, E event), major class and minor class: C0101';
comment on column layers.class.kind is 'component or event, from the first letter of the code';
comment on column layers.class.major_code is 'Its major class: the first three characters of the code';
comment on column layers.class.name_zh is 'Name in Chinese';
comment on column layers.class.name_en is 'Name in English';
comment on column layers.class.geometry_type is 'How a component of this class is drawn; null for events';
comment on column layers.class.accuracy_class is 'Mean positional error: A 0.5 m, B 1 m, C 10 m (components)';
comment on column layers.class.attribute_schema is 'JSON Schema of the attributes of a component of this class';
comment on column layers.class.source is 'Document or edition the line comes from';

create table layers.condition (
  edition text not null,
  class_code text not null,
  no integer not null check (no > 0),
  condition_zh text not null,
  condition_en text not null,
  closing_result_zh text,
  source text,
  primary key (edition, class_code, no),
  foreign key (edition, class_code) references layers.class (edition, code)
);
comment on table layers.condition is 'Filing conditions (立案条件) of a class and the result required for closing (结案条件)';
comment on column layers.condition.edition is 'Edition of the catalogue';
comment on column layers.condition.class_code is 'The class it belongs to';
comment on column layers.condition.no is 'Number of the condition within its class, from 1';
comment on column layers.condition.condition_zh is 'When a case is filed (立案条件), in Chinese';
comment on column layers.condition.condition_en is 'When a case is filed, in English';
comment on column layers.condition.closing_result_zh is 'What must be found for closing (结案条件), in Chinese';
comment on column layers.condition.source is 'Document or edition the line comes from';

create table layers.time_limit (
  edition text not null,
  class_code text not null,
  condition_no integer not null,
  area_class text not null check (area_class in ('A', 'B', 'C')),
  value double precision not null check (value > 0),
  basis text not null check (basis in ('urgent_hour', 'urgent_day', 'work_hour', 'work_day')),
  primary key (edition, class_code, condition_no, area_class),
  foreign key (edition, class_code, condition_no) references layers.condition
);
comment on table layers.time_limit is 'Limits of disposal (处置时限) by filing condition and area class';
comment on column layers.time_limit.edition is 'Edition of the catalogue';
comment on column layers.time_limit.class_code is 'The class';
comment on column layers.time_limit.condition_no is 'Number of its filing condition';
comment on column layers.time_limit.area_class is 'Management class of the place (A, B, C), see grids.cell.area_class';
comment on column layers.time_limit.value is 'How long disposal may take, in units of basis';
comment on column layers.time_limit.basis is 'urgent: round the clock (紧急工作时/日); work: by the calendar (工作时/日)';

create table layers.unit (
  id bigint generated always as identity primary key,
  code text not null unique check (code <> ''),
  name_zh text not null,
  name_en text not null,
  kind text not null check (kind in ('supervision_centre', 'command_centre', 'district', 'street_office',
    'professional_department', 'owner', 'maintainer')),
  parent_id bigint references layers.unit,
  area_code text,
  dissolved_at timestamptz
);
comment on table layers.unit is 'Organisations: the two centres, district, street offices, professional departments, owners, maintainers';
comment on column layers.unit.id is 'Number of the unit';
comment on column layers.unit.code is 'Code of the unit, the city''s own';
comment on column layers.unit.name_zh is 'Name in Chinese';
comment on column layers.unit.name_en is 'Name in English';
comment on column layers.unit.kind is 'What it is in the system: one of the two centres, district, street office, department, owner, maintainer';
comment on column layers.unit.parent_id is 'The unit above it';
comment on column layers.unit.area_code is 'The area of which it is the territorial body (属地), if any';
comment on column layers.unit.dissolved_at is 'When it ceased to exist, UTC; null while it exists';
create unique index unit_of_area on layers.unit (area_code) where area_code is not null and dissolved_at is null;
comment on index layers.unit_of_area is 'cases.assign: the territorial body of an area; one area has one';

create table layers.collector (
  id bigint generated always as identity primary key,
  code text not null unique,
  name_zh text not null,
  name_en text not null,
  unit_id bigint not null references layers.unit,
  responsibility_code text
);
comment on table layers.collector is 'Collectors (信息监督员) and the responsibility grid each one walks';
comment on column layers.collector.id is 'Number of the collector';
comment on column layers.collector.code is 'Code of the collector, the city''s own';
comment on column layers.collector.name_zh is 'Name in Chinese';
comment on column layers.collector.name_en is 'Name in English';
comment on column layers.collector.unit_id is 'The unit the collector belongs to';
comment on column layers.collector.responsibility_code is 'Code of the responsibility grid that the collector walks, if any';

create table layers.component (
  id bigint generated always as identity primary key,
  code text not null check (code ~ '^[0-9]{16,17}$'),
  edition text not null,
  class_code text not null,
  name_zh text,
  cell_code text,
  supervising_unit_id bigint references layers.unit,
  owner_unit_id bigint references layers.unit,
  maintainer_unit_id bigint references layers.unit,
  state text not null check (state in ('intact', 'damaged', 'lost', 'abandoned', 'removed')),
  surveyed_on date,
  changed_on date,
  data_source text not null,
  attrs jsonb not null default '{}',
  geom geometry(Geometry, :srid) not null,
  valid tstzrange not null check (not isempty(valid)),
  change_id bigint not null references gis.change,
  foreign key (edition, class_code) references layers.class (edition, code),
  check (class_code like 'C%'),
  exclude using gist (code with =, valid with &&)
);
comment on table layers.component is 'Components (部件) through time: manholes, lamps, bins, trees …';
comment on column layers.component.id is 'Number of this version';
comment on column layers.component.code is 'District 6 + class 4 (5 in the 2026 edition) + serial 6';
comment on column layers.component.edition is 'Edition of the catalogue that class_code is from';
comment on column layers.component.class_code is 'Its class, a component class (C…)';
comment on column layers.component.name_zh is 'Name in Chinese, if it has one';
comment on column layers.component.cell_code is 'The cell it stands in, by code; null where no cell covers it';
comment on column layers.component.supervising_unit_id is 'Supervising department 主管部门';
comment on column layers.component.owner_unit_id is 'Owner 权属单位';
comment on column layers.component.maintainer_unit_id is 'Maintainer 养护单位';
comment on column layers.component.state is 'intact, damaged, lost, abandoned or removed';
comment on column layers.component.surveyed_on is 'Day of the field visit, not of the import; null when not known';
comment on column layers.component.changed_on is 'Day on which it last changed in the field; null when not known';
comment on column layers.component.data_source is 'Where the row comes from';
comment on column layers.component.attrs is 'Further attributes by name, see layers.class.attribute_schema';
comment on column layers.component.geom is 'Where it stands, in the city''s projected system, metres, snapped to 2^-10 m';
comment on column layers.component.valid is 'From when to when this version held';
comment on column layers.component.change_id is 'The change that made this version';
create index component_now on layers.component using gist (geom) where upper_inf(valid);
comment on index layers.component_now is 'Components of today by place: what is near, maps, duplicates';
create index component_code_now on layers.component (code) where upper_inf(valid);
comment on index layers.component_code_now is 'cases.assign: the component that a report names';
create index component_class_now on layers.component (class_code, cell_code) where upper_inf(valid);
comment on index layers.component_class_now is 'Counts of components by class and cell';
