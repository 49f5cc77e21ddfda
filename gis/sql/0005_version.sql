-- What a map has cached is stale when the number of its layer has grown. Sixteen rows a layer, chosen by the backend,
-- so that writers seldom wait for each other; a number is counted with the transaction, so that whoever sees the new
-- number sees the new rows, and nobody sees it before.
create table gis.version (
  layer text not null,
  shard integer not null,
  n bigint not null,
  primary key (layer, shard)
) with (fillfactor = 50);
comment on table gis.version is 'How often each layer was written: the sum over its rows is the layer''s version';
comment on column gis.version.layer is 'Name of the layer, see served.*';
comment on column gis.version.shard is 'Sixteen rows a layer, so that writers seldom wait for each other';
comment on column gis.version.n is 'Writes counted here; the first rows began with the second they were made in, so that another database differs';
insert into gis.version (layer, shard, n)
select layer, 0, extract(epoch from clock_timestamp())::bigint
from unnest('{areas,ground,cells,components,cases}'::text[]) layer;

create function gis.count_write() returns trigger language plpgsql as $$
begin
  insert into gis.version as v (layer, shard, n)
  values (tg_argv[0], pg_backend_pid() % 16, 1)
  on conflict (layer, shard) do update set n = v.n + 1;
  return null;
end $$;
comment on function gis.count_write is 'Trigger: a layer was written, its version grows';
