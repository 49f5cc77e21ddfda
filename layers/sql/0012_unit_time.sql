-- An organisation has a first day too: without it the past would know bodies that came later.
alter table layers.unit add column founded_at timestamptz,
  add constraint unit_time check (founded_at < dissolved_at);
comment on column layers.unit.founded_at is 'From when on it exists, UTC; null: for as long as is known';
create index unit_area on layers.unit (area_code) where area_code is not null;
comment on index layers.unit_area is 'cases.assign: the bodies of an area, today''s and those of the past';
