-- The same key with another request is another request: what was sent is known by its hash.
alter table layers.edit_key add column request_sha256 text check (request_sha256 ~ '^[0-9a-f]{64}$');
comment on column layers.edit_key.request_sha256 is 'SHA-256 of what was sent; null: written before it was kept';

create index cell_then on grids.cell using gist (geom, valid) where not upper_inf(valid);
comment on index grids.cell_then is 'Cells of the past by place and time: where a component stood at an instant';
