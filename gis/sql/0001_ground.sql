-- What every versioned row points to: who changed it, when, why, from which source.
create table gis.change (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor text not null check (actor <> ''),
  reason text not null check (reason <> ''),
  source text
);
comment on table gis.change is 'One act that changed versioned rows: areas, cells, components, rules';
comment on column gis.change.id is 'Number of the change; versioned rows point to it';
comment on column gis.change.at is 'Instant of the change, UTC';
comment on column gis.change.actor is 'Who made it: an account, or the command that did';
comment on column gis.change.reason is 'Why, in words';
comment on column gis.change.source is 'Document or file it rests on';

-- Made by gis/migrate.py before the first migration runs.
comment on schema gis is 'The ground: changes, migrations';
comment on table gis.migration is 'Applied migrations; and the state of functions, and the SRID';
comment on column gis.migration.name is 'File name of the migration; or functions, or srid';
comment on column gis.migration.checksum is 'SHA-256 of the file as applied; for srid the EPSG code of the city''s system';
comment on column gis.migration.applied_at is 'When it was applied, UTC';

create schema served;
comment on schema served is 'Views for outside readers: QGIS, BI tools, notebooks';
