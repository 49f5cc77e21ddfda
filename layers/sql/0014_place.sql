-- Names of places (地名): where a place is, however it is said.
create table layers.place (
  id bigint generated always as identity primary key,
  code text not null check (code <> ''),
  kind text not null check (kind in ('area', 'road', 'crossing', 'zone', 'door', 'building', 'poi', 'water', 'green', 'rail')),
  name_zh text not null check (name_zh <> ''),
  name_en text,
  other_names text[] not null default '{}',
  road text,
  number integer check (number > 0),
  keys text[] not null,
  sounds text[] not null,
  initials text[] not null,
  spelling text not null,
  area_code text,
  derived boolean not null,
  data_source text not null,
  geom geometry(Geometry, :srid) not null,
  valid tstzrange not null check (not isempty(valid)),
  change_id bigint not null references gis.change,
  exclude using gist (code with =, valid with &&)
);
comment on table layers.place is 'Names of places through time: areas, roads, crossings, doors, buildings, places of interest';
comment on column layers.place.id is 'Number of this version';
comment on column layers.place.code is 'What stays the same through all versions: the source''s key, or kind and name where it was derived';
comment on column layers.place.kind is 'Level of the address (GB/T 37149): area, road, crossing, zone, door, building, poi; water, green, rail as landmarks';
comment on column layers.place.name_zh is 'Standard name in Chinese';
comment on column layers.place.name_en is 'Name in English, if it has one';
comment on column layers.place.other_names is 'Short, popular and other names of today; former ones are those of ended versions';
comment on column layers.place.road is 'Of a door: the road it is numbered by';
comment on column layers.place.number is 'Of a door: its number on that road';
comment on column layers.place.keys is 'All names as they are compared: without signs, small letters';
comment on column layers.place.sounds is 'The same as they sound: pinyin without tones, with what is mixed up taken as one';
comment on column layers.place.initials is 'First letters of the pinyin of each name';
comment on column layers.place.spelling is 'Sounds of all names with blanks between, for the search by trigrams';
comment on column layers.place.area_code is 'Code of the smallest area that holds it';
comment on column layers.place.derived is 'Taken from areas and ground, not imported: taken anew when these change';
comment on column layers.place.data_source is 'Where it comes from';
comment on column layers.place.geom is 'Point, line or polygon in the city''s projected system, metres';
comment on column layers.place.valid is 'From when to when this version held';
comment on column layers.place.change_id is 'The change that made this version';
create index place_key on layers.place using gin (keys);
comment on index layers.place_key is 'Places by name, also former ones';
create index place_sound on layers.place using gin (sounds);
comment on index layers.place_sound is 'Places by what their name sounds like';
create index place_initials on layers.place using gin (initials);
comment on index layers.place_initials is 'Places by first letters';
create index place_spelling on layers.place using gin (spelling gin_trgm_ops) where kind <> 'door';
comment on index layers.place_spelling is 'Places by parts of their name and with typing errors; doors are found by road and number';
create index place_door on layers.place (road, number) where kind = 'door' and upper_inf(valid);
comment on index layers.place_door is 'The doors of a road by number';
create index place_near on layers.place using gist (geom) where upper_inf(valid);
comment on index layers.place_near is 'What is near a place, for describing it in words';
create index place_mark on layers.place using gist (geom) where upper_inf(valid) and kind in ('crossing', 'poi', 'green');
comment on index layers.place_mark is 'The landmark nearest to a place';
create index place_road on layers.place using gist (geom) where upper_inf(valid) and kind = 'road';
comment on index layers.place_road is 'The road nearest to a place';
