-- Collectors: which account is which collector's, and who is on duty where.
alter table layers.account add column collector_code text;
comment on column layers.account.collector_code is 'Code of the collector that the person is; tasks on site go to a collector';
alter table layers.collector
  add column on_duty boolean not null default true,
  add column seen_at timestamptz,
  add column place geometry(Point, :srid);
comment on column layers.collector.on_duty is 'Whether tasks may be given: set by the collector';
comment on column layers.collector.seen_at is 'When the collector last told duty and place, UTC';
comment on column layers.collector.place is 'Where the collector was then, in the city''s system; null: not told';
