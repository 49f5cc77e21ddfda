-- Components get their source's own key and the change that ended a version; a version at any instant is found by place.
alter table layers.component drop constraint component_code_valid_excl;
alter table layers.component
  add column source_key text check (source_key <> ''),
  add column ended_change_id bigint references gis.change,
  add constraint component_one_version exclude using gist ((code::bigint) with =, valid with &&),
  add constraint component_ended check ((ended_change_id is null) = upper_inf(valid));
comment on column layers.component.source_key is 'What the source itself calls it, if it has a key: later files are matched by it';
comment on column layers.component.ended_change_id is 'The change that ended this version; null while it holds';

drop index layers.component_now;
drop index layers.component_code_now;
create index component_now on layers.component using gist (geom, lower(valid)) where upper_inf(valid);
comment on index layers.component_now is 'Components of today by place, and those of them that held then: what is near, maps, duplicates';
create index component_then on layers.component using gist (geom, valid) where not upper_inf(valid);
comment on index layers.component_then is 'layers.components_at: ended versions by place and time';
create index component_code on layers.component (code);
comment on index layers.component_code is 'One component, its versions, the highest serial of a class; cases.assign';
create index component_change on layers.component (change_id);
comment on index layers.component_change is 'What a change began: undoing an import';
create index component_ended on layers.component (ended_change_id) where ended_change_id is not null;
comment on index layers.component_ended is 'What a change ended: undoing an import, what happened between two instants';
create index component_key on layers.component (class_code, source_key) where upper_inf(valid) and source_key is not null;
comment on index layers.component_key is 'Import of a census: matching by the source''s own key';

alter table layers.class add column never_on text[] not null default '{}' check (never_on <@ '{building,water}');
comment on column layers.class.never_on is 'Ground on which a component of this class never stands: building, water';

create table layers.census (
  id bigint generated always as identity primary key,
  file_name text not null,
  sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  mapping jsonb not null,
  surveyed geometry(MultiPolygon, :srid),
  class_codes text[] not null,
  counts jsonb not null,
  change_id bigint references gis.change,
  imported_at timestamptz not null,
  imported_by text not null check (imported_by <> ''),
  undone_change_id bigint references gis.change,
  undone_at timestamptz,
  undone_by text,
  check ((undone_at is null) = (undone_by is null))
);
comment on table layers.census is 'Imports of census files that were promoted: one change each, which can be undone as one';
comment on column layers.census.id is 'Number of the import';
comment on column layers.census.file_name is 'Name of the file, without its folder';
comment on column layers.census.sha256 is 'SHA-256 of the file (of a folder: of its files in the order of their names)';
comment on column layers.census.mapping is 'The mapping by which it was read';
comment on column layers.census.surveyed is 'The surveyed extent; null: not stated, so that nothing counts as gone';
comment on column layers.census.class_codes is 'The classes that the file surveyed';
comment on column layers.census.counts is 'Rows by fate (new, same, confirmed, changed, moved, gone) and findings by rule';
comment on column layers.census.change_id is 'The change that it made; null: nothing differed';
comment on column layers.census.imported_at is 'The instant from which its versions hold, UTC';
comment on column layers.census.imported_by is 'Who imported it';
comment on column layers.census.undone_change_id is 'The change that undid it; null: it stands, or there was nothing to undo';
comment on column layers.census.undone_at is 'When it was undone, UTC; null while it stands';
comment on column layers.census.undone_by is 'Who undid it';

create table layers.edit_key (
  actor text not null,
  key text not null check (length(key) between 1 and 200),
  code text not null,
  at timestamptz not null default clock_timestamp(),
  primary key (actor, key)
);
comment on table layers.edit_key is 'Idempotency keys of added components: a repeated request finds what it made';
comment on column layers.edit_key.actor is 'Who sent it';
comment on column layers.edit_key.key is 'The sender''s key';
comment on column layers.edit_key.code is 'Code of the component that was made';
comment on column layers.edit_key.at is 'When, UTC';
