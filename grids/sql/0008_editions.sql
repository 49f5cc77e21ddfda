-- ── drafts: what nobody else sees until it is published ──────────────────────────────────────────────────────
create table grids.edition (
  id bigint generated always as identity primary key,
  communities text[] not null check (cardinality(communities) > 0),
  note text,
  state text not null default 'draft' check (state in ('draft', 'published', 'dropped')),
  base_ids bigint[] not null,
  revision integer not null default 0,
  opened_by text not null check (opened_by <> ''),
  opened_at timestamptz not null default clock_timestamp(),
  saved_by text not null check (saved_by <> ''),
  saved_at timestamptz not null default clock_timestamp(),
  ended_by text,
  ended_at timestamptz,
  change_id bigint references gis.change,
  check ((state = 'draft') = (ended_at is null)),
  check ((ended_at is null) = (ended_by is null)),
  check (change_id is null or state = 'published')
);
comment on table grids.edition is 'Editions of the unit grid: a draft of some communities, then published or dropped';
comment on column grids.edition.id is 'Number of the edition';
comment on column grids.edition.communities is 'Codes of the communities that it draws anew';
comment on column grids.edition.note is 'Why, in words';
comment on column grids.edition.state is 'draft: invisible to others; published: it is the grid; dropped: nothing came of it';
comment on column grids.edition.base_ids is 'The versions of the cells (grids.cell.id) that it started from: newer ones keep it from being published';
comment on column grids.edition.revision is 'How often its cells were saved: who saves after somebody else must have seen that';
comment on column grids.edition.opened_by is 'Who opened it';
comment on column grids.edition.opened_at is 'When it was opened, UTC';
comment on column grids.edition.saved_by is 'Who saved its cells last';
comment on column grids.edition.saved_at is 'When its cells were saved last, UTC';
comment on column grids.edition.ended_by is 'Who published or dropped it; null while it is a draft';
comment on column grids.edition.ended_at is 'When it was published or dropped, UTC; null while it is a draft';
comment on column grids.edition.change_id is 'The change that published it; null when it changed nothing';

create table grids.draft_community (
  community_code text primary key,
  edition_id bigint not null references grids.edition
);
comment on table grids.draft_community is 'Which draft holds a community: two open drafts never hold the same one';
comment on column grids.draft_community.community_code is 'Code of the community';
comment on column grids.draft_community.edition_id is 'The open draft that holds it';
create index draft_community_of_edition on grids.draft_community (edition_id);
comment on index grids.draft_community_of_edition is 'Ending a draft frees its communities';

create table grids.draft_cell (
  edition_id bigint not null references grids.edition,
  code text not null check (code ~ '^[0-9]{14,15}$'),
  area_class text not null default 'A' check (area_class in ('A', 'B', 'C')),
  outside boolean not null default false,
  geom geometry(Polygon, :srid) not null,
  primary key (edition_id, code)
);
comment on table grids.draft_cell is 'The cells of open drafts; emptied when a draft ends';
comment on column grids.draft_cell.edition_id is 'The draft';
comment on column grids.draft_cell.code is 'Code that the cell will have, see grids.cell.code';
comment on column grids.draft_cell.area_class is 'Management class of the place (A, B, C)';
comment on column grids.draft_cell.outside is 'True: a neighbour outside the draft''s communities, which gets vertices that the draft puts on its border';
comment on column grids.draft_cell.geom is 'Outline in the city''s projected system, metres, snapped to 2^-10 m';

-- ── which cell came from which ───────────────────────────────────────────────────────────────────────────────
create table grids.lineage (
  old_id bigint not null references grids.cell,
  new_id bigint not null references grids.cell,
  edition_id bigint references grids.edition,
  share_of_old double precision not null check (share_of_old between 0 and 1),
  share_of_new double precision not null check (share_of_new between 0 and 1),
  primary key (old_id, new_id),
  check (old_id <> new_id)
);
comment on table grids.lineage is 'Which version of a cell came from which: split, merged, redrawn';
comment on column grids.lineage.old_id is 'The version that ended';
comment on column grids.lineage.new_id is 'The version that began at that instant on ground of the old one';
comment on column grids.lineage.edition_id is 'The edition that did it; null: the grid was imported';
comment on column grids.lineage.share_of_old is 'Share of the old cell''s area that is in the new one, 0 to 1';
comment on column grids.lineage.share_of_new is 'Share of the new cell''s area that was in the old one, 0 to 1';
create index lineage_new on grids.lineage (new_id);
comment on index grids.lineage_new is 'What a cell came from';
create index cell_code_ever on grids.cell (community_code);
comment on index grids.cell_code_ever is 'All codes ever used in a community, and its cells at an instant';
