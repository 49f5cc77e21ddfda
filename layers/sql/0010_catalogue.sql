-- Editions of the catalogue side by side, which of them was in force when, and how their classes correspond.
create table layers.edition (
  code text primary key check (code ~ '^[^/\s]([^/]{0,58}[^/\s])?$' and code not in ('mapping', '.', '..')),
  name_zh text not null,
  name_en text not null,
  kind text not null check (kind in ('national', 'city')),
  source text not null,
  change_id bigint references gis.change
);
comment on table layers.edition is 'Editions of the catalogue: national standards and the city''s own; none is ever overwritten';
comment on column layers.edition.code is 'Short name of the edition; a part of addresses, so without a slash';
comment on column layers.edition.name_zh is 'Name in Chinese';
comment on column layers.edition.name_en is 'Name in English';
comment on column layers.edition.kind is 'national: of a national standard; city: the city''s own';
comment on column layers.edition.source is 'File or document that it was read from';
comment on column layers.edition.change_id is 'The change that brought it; null: it came with Wanmi';

insert into layers.edition (code, name_zh, name_en, kind, source)
select distinct edition, edition, edition, 'city', 'loaded with the city' from layers.major;
alter table layers.major add constraint major_of_edition foreign key (edition) references layers.edition;

create table layers.edition_in_force (
  since timestamptz primary key,
  edition text not null references layers.edition,
  change_id bigint not null references gis.change
);
comment on table layers.edition_in_force is 'From when on which edition is in force for new cases and components; append-only';
comment on column layers.edition_in_force.since is 'From then on, UTC; the first one holds for all time before it too';
comment on column layers.edition_in_force.edition is 'The edition';
comment on column layers.edition_in_force.change_id is 'The change that put it in force: who, why';

insert into layers.edition_in_force (since, edition, change_id)
select c.loaded_at, c.profile ->> 'edition', (select min(g.id) from gis.change g)
from grids.city c join layers.edition e on e.code = c.profile ->> 'edition';

create table layers.class_mapping (
  from_edition text not null,
  from_code text not null,
  to_edition text not null references layers.edition,
  to_code text,
  relation text not null check (relation in ('same', 'renamed', 'split', 'merged', 'gone')),
  reviewed boolean not null,
  source text not null,
  foreign key (from_edition, from_code) references layers.class (edition, code),
  foreign key (to_edition, to_code) references layers.class (edition, code),
  check ((to_code is null) = (relation = 'gone')),
  check (left(from_code, 1) = left(to_code, 1)),
  check (from_edition <> to_edition)
);
comment on table layers.class_mapping is 'Which class of one edition is which of another; written once from a list, never computed from digits';
comment on column layers.class_mapping.from_edition is 'The older edition';
comment on column layers.class_mapping.from_code is 'A class of it';
comment on column layers.class_mapping.to_edition is 'The newer edition';
comment on column layers.class_mapping.to_code is 'The class of it that means the same, or a part of it; null when there is none';
comment on column layers.class_mapping.relation is 'same (name agrees), renamed, split (one of several), merged (several became one), gone';
comment on column layers.class_mapping.reviewed is 'False: found by likeness of names; a person should look before anything rests on it';
comment on column layers.class_mapping.source is 'How it was found';
create unique index class_mapping_once on layers.class_mapping (from_edition, from_code, to_edition, coalesce(to_code, ''));
comment on index layers.class_mapping_once is 'A pair of classes is told once; the mapping read from the older edition';
create index class_mapping_to on layers.class_mapping (to_edition, to_code);
comment on index layers.class_mapping_to is 'The mapping read from the newer edition';

alter table layers.condition
  add column disposal_unit_zh text,
  add column supervising_unit_zh text;
comment on column layers.condition.disposal_unit_zh is 'Who disposes (处置单位), as the city''s sheet says; responsibility itself is in cases.rule';
comment on column layers.condition.supervising_unit_zh is 'Who supervises (主管部门), as the city''s sheet says';

-- What a case or a component once meant must not change under it: a new edition is written instead.
create function layers.refuse_rewriting() returns trigger language plpgsql as $$
begin
  raise exception 'editions of the catalogue are not rewritten: write a new one | 分类版本不可改写,请另立新版本'
    using errcode = '23000', schema = tg_table_schema, table = tg_table_name;
end $$;
comment on function layers.refuse_rewriting is 'Keeps editions of the catalogue as they were written';
create trigger keep before update or delete on layers.condition for each row execute function layers.refuse_rewriting();
create trigger keep before update or delete on layers.time_limit for each row execute function layers.refuse_rewriting();
create trigger keep before update or delete on layers.major for each row execute function layers.refuse_rewriting();
create trigger keep before update of edition, code, name_zh, name_en or delete on layers.class
  for each row execute function layers.refuse_rewriting();
create trigger keep before update or delete on layers.edition_in_force
  for each row execute function layers.refuse_rewriting();
