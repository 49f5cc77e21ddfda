-- name: record_change
insert into gis.change (actor, reason, source) values (:actor, :reason, :source) returning id;

-- name: versions
select layer, sum(n)::bigint as version from gis.version group by layer;

-- name: applied_migrations
select name, checksum from gis.migration;

-- name: server_version
select current_setting('server_version') as postgresql, postgis_lib_version() as postgis;

-- name: notify
select pg_notify(:channel, :payload);

-- name: now
select clock_timestamp();
