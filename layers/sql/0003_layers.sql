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
comment on column layers.class.accuracy_class is 'Mean positional error: A 0.5 m, B 1 m, C 10 m (components)';
comment on column layers.class.attribute_schema is 'JSON Schema of the attributes of a component of this class';

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
comment on column layers.unit.area_code is 'The area of which it is the territorial body (属地), if any';
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
comment on column layers.component.code is 'District 6 + class 4 (5 in the 2026 edition) + serial 6';
comment on column layers.component.cell_code is 'The cell it stands in, by code; null where no cell covers it';
comment on column layers.component.supervising_unit_id is 'Supervising department 主管部门';
comment on column layers.component.owner_unit_id is 'Owner 权属单位';
comment on column layers.component.maintainer_unit_id is 'Maintainer 养护单位';
create index component_now on layers.component using gist (geom) where upper_inf(valid);
comment on index layers.component_now is 'Components of today by place: what is near, maps, duplicates';
create index component_code_now on layers.component (code) where upper_inf(valid);
comment on index layers.component_code_now is 'cases.assign: the component that a report names';
create index component_class_now on layers.component (class_code, cell_code) where upper_inf(valid);
comment on index layers.component_class_now is 'Counts of components by class and cell';
