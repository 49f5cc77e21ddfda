create schema grids;
comment on schema grids is 'Where: administrative areas, the ground, the unit grid';

create table grids.city (
  id text primary key,
  only_row boolean not null default true unique check (only_row),
  name_zh text not null,
  name_en text not null,
  timezone text not null,
  simulated boolean not null,
  attribution text,
  tolerance_m double precision not null check (tolerance_m >= 0),
  border_tolerance_m double precision not null check (border_tolerance_m >= 0),
  profile jsonb not null default '{}',
  findings jsonb not null default '[]',
  loaded_at timestamptz not null default clock_timestamp()
);
comment on table grids.city is 'The one city of this database';
comment on column grids.city.id is 'Folder name of the city under data/; its database is wanmi_<id>';
comment on column grids.city.only_row is 'Always true and unique: a database holds one city';
comment on column grids.city.name_zh is 'Name in Chinese';
comment on column grids.city.name_en is 'Name in English';
comment on column grids.city.timezone is 'IANA name of the city''s time zone; it gives the date in case numbers';
comment on column grids.city.simulated is 'True: geometry, components and cases are simulated (模拟) and labelled so wherever a person sees them';
comment on column grids.city.attribution is 'Words that the licence of its data asks for, if any';
comment on column grids.city.tolerance_m is 'A place in no cell belongs to the nearest cell within so many metres, flagged';
comment on column grids.city.border_tolerance_m is 'A place within so many metres of another community is flagged as near a border';
comment on column grids.city.profile is 'The city.toml it was loaded with';
comment on column grids.city.findings is 'Defects met in its source: what, how many rows, what was done';
comment on column grids.city.loaded_at is 'When it was loaded, UTC';

create table grids.area (
  id bigint generated always as identity primary key,
  code text not null check (code ~ '^([0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})$'),
  level text not null generated always as (
    case length(code) when 4 then 'city' when 6 then 'district' when 9 then 'street' else 'community' end) stored,
  parent_code text generated always as (
    case length(code) when 6 then left(code, 4) when 9 then left(code, 6) when 12 then left(code, 9) end) stored,
  name_zh text not null,
  name_en text not null,
  data_source text not null,
  geom geometry(MultiPolygon, :srid) not null,
  valid tstzrange not null check (not isempty(valid)),
  change_id bigint not null references gis.change,
  exclude using gist (code with =, valid with &&)
);
comment on table grids.area is 'Administrative areas through time: city, district 区, street 街道, community 社区';
comment on column grids.area.id is 'Number of this version';
comment on column grids.area.code is 'Division code: 4 (city), 6, 9 or 12 digits; the hierarchy is in the digits';
comment on column grids.area.level is 'From the length of the code';
comment on column grids.area.parent_code is 'Code of the area one level up, from the digits; null for the city';
comment on column grids.area.name_zh is 'Name in Chinese';
comment on column grids.area.name_en is 'Name in English';
comment on column grids.area.data_source is 'Where the border comes from';
comment on column grids.area.geom is 'Border in the city''s projected system, metres, snapped to 2^-10 m';
comment on column grids.area.valid is 'From when to when this version held';
comment on column grids.area.change_id is 'The change that made this version';
create index area_now on grids.area using gist (geom) where upper_inf(valid);
comment on index grids.area_now is 'Areas of today by place: maps and reports by area';

create table grids.barrier (
  id bigint generated always as identity primary key,
  kind text not null check (kind in ('street', 'rail', 'water', 'wall', 'building', 'green')),
  grade text,
  name_zh text,
  name_en text,
  width_m double precision check (width_m > 0),
  data_source text not null,
  geom geometry(Geometry, :srid) not null,
  valid tstzrange not null check (not isempty(valid)),
  change_id bigint not null references gis.change
);
comment on table grids.barrier is 'The ground that cells follow and maps show: street and rail centre lines, water, walls, buildings, green';
comment on column grids.barrier.id is 'Number of this version';
comment on column grids.barrier.kind is 'street, rail (centre lines); water, wall, building, green';
comment on column grids.barrier.grade is 'street: arterial, street, lane; water: river, pond';
comment on column grids.barrier.name_zh is 'Name in Chinese, if it has one';
comment on column grids.barrier.name_en is 'Name in English, if it has one';
comment on column grids.barrier.width_m is 'Width of the carriageway or track, metres';
comment on column grids.barrier.data_source is 'Where it comes from';
comment on column grids.barrier.geom is 'Centre line or outline in the city''s projected system, metres, snapped to 2^-10 m';
comment on column grids.barrier.valid is 'From when to when this version held';
comment on column grids.barrier.change_id is 'The change that made this version';
create index barrier_now on grids.barrier using gist (geom) where upper_inf(valid);
comment on index grids.barrier_now is 'The ground of today by place: cutting, checks, base map';

create table grids.cell (
  id bigint generated always as identity primary key,
  code text not null check (code ~ '^[0-9]{14,15}$'),
  community_code text not null generated always as (left(code, 12)) stored,
  area_m2 double precision not null generated always as (st_area(geom)) stored,
  area_class text not null default 'A' check (area_class in ('A', 'B', 'C')),
  geom geometry(Polygon, :srid) not null,
  valid tstzrange not null check (not isempty(valid)),
  change_id bigint not null references gis.change,
  exclude using gist (code with =, valid with &&)
);
comment on table grids.cell is 'Unit grid cells (单元网格) of about 10 000 m² through time; none crosses a community border';
comment on column grids.cell.id is 'Number of this version; cases point to it';
comment on column grids.cell.code is 'District 6 + street 3 + community 3 + serial 3 (2 in the oldest edition)';
comment on column grids.cell.community_code is 'The community that holds it: the first 12 digits of its code';
comment on column grids.cell.area_m2 is 'Area in m², in the city''s projection';
comment on column grids.cell.area_class is 'Management class of the place (A, B, C): limits and marks hang on it';
comment on column grids.cell.geom is 'Outline in the city''s projected system, metres, snapped to 2^-10 m; shared borders are equal';
comment on column grids.cell.valid is 'From when to when this version held';
comment on column grids.cell.change_id is 'The change that made this version';
create index cell_now on grids.cell using gist (geom) where upper_inf(valid);
comment on index grids.cell_now is 'cases.assign: the cell of a place, and what lies near its border';

create table grids.responsibility (
  id bigint generated always as identity primary key,
  code text not null check (code <> ''),
  name_zh text not null,
  name_en text not null,
  valid tstzrange not null check (not isempty(valid)),
  change_id bigint not null references gis.change,
  exclude using gist (code with =, valid with &&)
);
comment on table grids.responsibility is 'Responsibility grids (责任网格): sets of cells given to one collector';
comment on column grids.responsibility.id is 'Number of this version';
comment on column grids.responsibility.code is 'Code of the responsibility grid, the city''s own';
comment on column grids.responsibility.name_zh is 'Name in Chinese';
comment on column grids.responsibility.name_en is 'Name in English';
comment on column grids.responsibility.valid is 'From when to when this version held';
comment on column grids.responsibility.change_id is 'The change that made this version';

create table grids.responsibility_cell (
  responsibility_id bigint not null references grids.responsibility,
  cell_code text not null,
  primary key (responsibility_id, cell_code)
);
comment on table grids.responsibility_cell is 'The cells of a responsibility grid, by code: a redrawn cell keeps its collector';
comment on column grids.responsibility_cell.responsibility_id is 'The version of the responsibility grid';
comment on column grids.responsibility_cell.cell_code is 'Code of a cell in it';
create index responsibility_of_cell on grids.responsibility_cell (cell_code);
comment on index grids.responsibility_of_cell is 'The collector of a place';
