-- name: unit_ids
select code, id from layers.unit;

-- name: set_parent
update layers.unit set parent_id = :parent_id where id = :id;

-- name: hold_grid
select pg_advisory_xact_lock_shared(hashtextextended('wanmi:grid', 0));

-- name: stage_components
drop table if exists pg_temp.staged_component;
create temporary table staged_component (like layers.component including defaults) on commit drop;
alter table staged_component drop column id;

-- name: place_components
insert into layers.component (code, edition, class_code, name_zh, cell_code, supervising_unit_id, owner_unit_id,
  maintainer_unit_id, state, surveyed_on, changed_on, data_source, source_key, attrs, geom, valid, change_id)
select s.code, s.edition, s.class_code, s.name_zh, cell.code, s.supervising_unit_id, s.owner_unit_id,
  s.maintainer_unit_id, s.state, s.surveyed_on, s.changed_on, s.data_source, s.source_key, coalesce(s.attrs, '{}'), s.geom,
  s.valid, s.change_id
from staged_component s
left join lateral (
  select c.code from grids.cell c
  where upper_inf(c.valid)
    and st_covers(c.geom, case when st_dimension(s.geom) = 0 then s.geom else st_pointonsurface(s.geom) end)
  order by c.code || '' limit 1) cell on true;

-- name: counts_of_components
select m.code, m.name_zh, m.name_en, count(*) as components, count(k.cell_code) as in_a_cell
from layers.component k
join layers.class l on l.edition = k.edition and l.code = k.class_code
join layers.major m on m.edition = l.edition and m.code = l.major_code
where upper_inf(k.valid) group by m.code, m.name_zh, m.name_en order by m.code;

-- name: counts_of_catalogue
select count(*) filter (where kind = 'component') as component_classes, count(*) filter (where kind = 'event') as event_classes,
  (select count(*) from layers.condition where edition = layers.edition_at(null)) as conditions
from layers.class where edition = layers.edition_at(null);

-- name: counts_of_units
select count(*) as units, (select count(*) from layers.collector) as collectors from layers.unit;

-- name: known_class
select name_zh, name_en from layers.class where edition = layers.edition_at(null) and code = :code;

-- name: known_classes
select code, name_zh, name_en from layers.class where edition = layers.edition_at(null) order by code;

-- name: conditions_of_class
select no from layers.condition where edition = layers.edition_at(null) and class_code = :class_code order by no;

-- name: class_of_component
-- and the classes of the edition in force that mean the same
select k.class_code, array(
  select m.to_code from layers.class_mapping m
  where m.from_edition = k.edition and m.from_code = k.class_code and m.to_edition = layers.edition_at(null)
  union select m.from_code from layers.class_mapping m
  where m.to_edition = k.edition and m.to_code = k.class_code and m.from_edition = layers.edition_at(null)) as alike
from layers.components_at(:at) k where k.code = :code;

-- name: add_account
insert into layers.account (name, display_zh, display_en, roles, channel, unit_code, collector_code, password_hash)
values (:name, :display_zh, :display_en, :roles, :channel, :unit_code, :collector_code, :password_hash)
on conflict (name) do nothing returning id;

-- name: collector_there
select exists (select from layers.collector where code = :code);

-- name: set_collector
update layers.account set collector_code = :code where name = :name returning id;

-- name: set_duty
update layers.collector set on_duty = :on_duty, seen_at = clock_timestamp(),
  place = st_setsrid(st_makepoint(:x, :y), cast(:srid as integer))
where code = :code returning code, name_zh, name_en, on_duty, seen_at;

-- name: count_accounts
select count(*) from layers.account;

-- name: list_accounts
select a.name, a.display_zh, a.display_en, a.roles, a.channel, a.unit_code, a.disabled_at, a.created_at,
  (select count(*) from layers.token t where t.account_id = a.id and t.kind = 'token' and t.ends_at > clock_timestamp()) as tokens
from layers.account a order by a.name;

-- name: read_account
select a.id, a.name, a.display_zh, a.display_en, a.roles, a.channel, a.unit_code, a.password_hash, a.disabled_at,
  u.name_zh as unit_zh, u.name_en as unit_en, u.kind as unit_kind
from layers.account a left join layers.unit u on u.code = a.unit_code where a.name = :name;

-- name: set_password
update layers.account set password_hash = :password_hash where name = :name and channel is null returning id;

-- name: end_tokens
update layers.token t set ends_at = clock_timestamp() from layers.account a
where a.id = t.account_id and a.name = :name and t.ends_at > clock_timestamp();

-- name: disable_account
update layers.account set disabled_at = coalesce(disabled_at, clock_timestamp()) where name = :name returning id;

-- name: add_token
insert into layers.token (sha256, account_id, kind, ends_at)
values (:sha256, :account_id, :kind, clock_timestamp() + make_interval(secs => :seconds));

-- name: end_token
update layers.token set ends_at = clock_timestamp() where sha256 = :sha256 and ends_at > clock_timestamp();

-- name: sweep_tokens
delete from layers.token where kind = 'session' and ends_at < clock_timestamp() - interval '30 days';

-- name: account_of_token
select a.id, a.name, a.display_zh, a.display_en, a.roles, a.channel, a.unit_code, a.collector_code, u.name_zh as unit_zh,
  u.name_en as unit_en, u.kind as unit_kind
from layers.token t join layers.account a on a.id = t.account_id left join layers.unit u on u.code = a.unit_code
where t.sha256 = :sha256 and t.kind = :kind and t.ends_at > clock_timestamp() and a.disabled_at is null;

-- name: units_below
select id from layers.units_below(:code);

-- name: login_turn
-- The turn of the next try with this name, counted as failed until it has succeeded: how long to wait before the
-- password is looked at. Tries that come at once queue up; the queue has an end, so that it empties.
insert into layers.failed_login as f (name_sha256, failures, next_at)
values (:name_sha256, 1, clock_timestamp())
on conflict (name_sha256) do update set failures = f.failures + 1,
  next_at = least(greatest(f.next_at, clock_timestamp())
    + make_interval(secs => least(0.25 * 2.0 ^ least(f.failures, 20), :most_s)), clock_timestamp() + interval '30 seconds')
returning extract(epoch from next_at - clock_timestamp())::double precision as wait_s;

-- name: login_succeeded
delete from layers.failed_login where name_sha256 = :name_sha256 or next_at < clock_timestamp() - interval '1 day';

-- name: secret
select value from layers.secret where name = :name;

-- name: units_by_id
select id, code, name_zh, name_en, kind from layers.unit where id = any (:ids) order by code;

-- name: unit_exists
select id from layers.unit where code = :code;

-- name: classes_with_conditions
select c.code, c.kind, c.major_code, c.name_zh, c.name_en, c.geometry_type,
  coalesce((select json_agg(json_build_object('no', k.no, 'condition_zh', k.condition_zh, 'condition_en', k.condition_en) order by k.no)
    from layers.condition k where k.edition = c.edition and k.class_code = c.code), '[]') as conditions
from layers.class c where c.edition = :edition order by c.code;

-- name: majors
select code, case left(code, 1) when 'C' then 'component' else 'event' end as kind, name_zh, name_en
from layers.major where edition = :edition order by code;

-- name: distance_to_component
select st_distance(k.geom, st_setsrid(st_makepoint(:x, :y), :srid)) from layers.components_at(:at) k where k.code = :code;

-- name: read_component
select k.id, k.code, k.class_code, l.name_zh as class_zh, l.name_en as class_en, k.name_zh, k.state, k.cell_code,
  k.supervising_unit_id, k.owner_unit_id, k.maintainer_unit_id, k.surveyed_on, k.changed_on, k.data_source, k.attrs,
  st_asgeojson(st_transform(k.geom, 4326), 7)::json as geometry,
  st_x(st_transform(st_pointonsurface(k.geom), 4326)) as lon, st_y(st_transform(st_pointonsurface(k.geom), 4326)) as lat
from layers.component k join layers.class l on l.edition = k.edition and l.code = k.class_code
where k.code = :code and upper_inf(k.valid);

-- name: find_components
select 'component' as kind, k.code, l.name_zh as title_zh, l.name_en as title_en,
  st_transform(st_pointonsurface(k.geom), 4326) as point, st_transform(st_envelope(k.geom), 4326) as box
from layers.component k join layers.class l on l.edition = k.edition and l.code = k.class_code
where upper_inf(k.valid) and k.code like :prefix order by k.code limit :most;

-- name: replace_cells
select code, from_code, to_code from layers.replace_cells(:ended_ids, :begun_ids);

-- name: components_in_cells
select count(cell_code) as in_a_cell, count(*) as components from layers.component where upper_inf(valid);

-- name: units_naming_cells
select code, name_zh, name_en, area_code as cell_code from layers.unit
where dissolved_at is null and area_code = any (cast(:codes as text[])) order by code;

-- name: points_of_components
select geom from layers.component
where upper_inf(valid) and st_dimension(geom) = 0 and left(cell_code, 12) = any (cast(:communities as text[]));

-- name: stage_census
drop table if exists pg_temp.staged_census, pg_temp.census_layer, pg_temp.census_match, pg_temp.census_shared, pg_temp.census_compared, pg_temp.census_gone;
create temporary table staged_census (n bigint, layer integer, row bigint, code text, class_code text, name_zh text,
  cell_code text, district text, state text, supervising_unit_id bigint, owner_unit_id bigint, maintainer_unit_id bigint,
  surveyed_on date, changed_on date, data_source text, source_key text, base text, attrs jsonb, geom geometry, error boolean) on commit drop;
create temporary table census_layer (layer integer primary key, name text, source text, has_name boolean, has_changed boolean, has_source boolean,
  has_supervising boolean, has_owner boolean, has_maintainer boolean, attr_names text[]) on commit drop;
create temporary table census_match (n bigint, id bigint, how text, base_id bigint) on commit drop;
create temporary table census_shared (n bigint, id bigint) on commit drop;
create temporary table census_compared (n bigint, id bigint, fields text[], moved_m double precision) on commit drop;
create temporary table census_gone (id bigint) on commit drop;

-- name: stage_census_rows
create index on staged_census (n);
analyze staged_census;

-- name: set_census_cells
update staged_census s set cell_code = (
  select c.code from grids.cell c where upper_inf(c.valid) and st_covers(c.geom, st_pointonsurface(s.geom))
  order by c.code || '' limit 1)
where st_dimension(s.geom) > 0 and st_isvalid(s.geom);

-- name: match_census_by_code
insert into census_match (n, id, how)
select s.n, k.id, 'code' from staged_census s join layers.component k on k.code = s.code and upper_inf(k.valid);

-- name: match_census_by_key
with found as materialized (
  select s.n, k.id, s.error, count(*) over (partition by s.n) as many
  from staged_census s
  join layers.component k on upper_inf(k.valid) and k.class_code = s.class_code and k.source_key = s.source_key
  where s.code is null and not exists (select from census_match m where m.id = k.id)),
alone as (insert into census_match (n, id, how) select n, id, 'key' from found where many = 1)
insert into census_shared (n, id) select n, id from found where many > 1 and not error;
analyze census_match;

-- name: census_keys_shared
-- Rows whose key several components have, and these.
select n, id from census_shared order by n, id;

-- name: census_keys_taken
-- Rows with a code of their own and the key of another component.
select distinct s.n
from staged_census s join layers.component k on upper_inf(k.valid) and k.class_code = s.class_code and k.source_key = s.source_key
where s.code is not null and k.code <> s.code
  and not exists (select from census_match m join staged_census o on o.n = m.n
    where m.id = k.id and o.source_key is distinct from k.source_key)
order by s.n;

-- name: match_census_by_place
insert into census_match (n, id, how) select n, id, 'place' from unnest(cast(:ns as bigint[]), cast(:ids as bigint[])) q (n, id);

-- name: census_matches
select n, id from census_match;

-- name: stage_census_matches
create index on census_match (n);
create index on census_match (id);
analyze census_match;

-- name: refuse_census_rows
update staged_census set error = true where n = any (cast(:ns as bigint[]));

-- name: census_codes_retired
-- What only an undo took away may come again.
select s.n from staged_census s
join lateral (select k.valid, k.ended_change_id from layers.component k where k.code = s.code order by lower(k.valid) desc limit 1) k
  on not upper_inf(k.valid)
where not exists (select from layers.census c where c.undone_change_id = k.ended_change_id);

-- name: census_codes_repeated
select q.n from (
  select s.n, count(*) over (partition by s.code) as many from staged_census s where s.code is not null) q
where q.many > 1 order by q.n;

-- name: census_rows
select s.n, l.name as layer, s.row, s.code, s.class_code, s.source_key, s.geom
from unnest(cast(:ns as bigint[])) with ordinality q (n, rank)
join staged_census s on s.n = q.n join census_layer l on l.layer = s.layer order by q.rank;

-- name: codes_of_components
select id, code from layers.component where id = any (cast(:ids as bigint[]));

-- name: unit_names
select id, code, name_zh, name_en from layers.unit where dissolved_at is null;

-- name: census_keys_repeated
select q.n from (
  select s.n, count(*) over (partition by s.class_code, s.source_key) as many
  from staged_census s where s.source_key is not null and s.class_code is not null) q
where q.many > 1 order by q.n;

-- name: census_inventory
select k.id, array_position(cast(:classes as text[]), k.class_code) - 1 as kind, k.source_key is not null as keyed,
  st_x(p.point) as x, st_y(p.point) as y
from layers.component k
cross join lateral (select case when st_dimension(k.geom) = 0 then k.geom else st_pointonsurface(k.geom) end as point) p
where upper_inf(k.valid) and k.class_code = any (cast(:classes as text[])) order by k.id;

-- name: match_census_bases
-- A row that was exported from a version that is not today's is compared with that version.
update census_match m set base_id = b.id
from staged_census s
join layers.component k on k.code = s.code and upper_inf(k.valid)
join layers.component b on b.code = k.code and b.id <> k.id
where s.base is not null and m.n = s.n and m.id = k.id and layers.fingerprint(k) <> s.base and layers.fingerprint(b) = s.base;

-- name: census_edited
-- Rows that want to change what others have changed since they were exported.
select c.n, g.actor, lower(k.valid) as at
from census_compared c join census_match m on m.n = c.n join layers.component k on k.id = c.id
join gis.change g on g.id = k.change_id
where m.base_id is not null and c.fields <> '{}' order by c.n;

-- name: drop_census_edited
delete from census_compared c where c.n = any (cast(:ns as bigint[]));

-- name: compare_census
insert into census_compared (n, id, fields, moved_m)
select s.n, m.id,
  array_remove(array[
    case when l.has_name and s.name_zh is distinct from k.name_zh then 'name_zh' end,
    case when s.state <> k.state then 'state' end,
    case when l.has_supervising and s.supervising_unit_id is distinct from k.supervising_unit_id then 'supervising_unit' end,
    case when l.has_owner and s.owner_unit_id is distinct from k.owner_unit_id then 'owner_unit' end,
    case when l.has_maintainer and s.maintainer_unit_id is distinct from k.maintainer_unit_id then 'maintainer_unit' end,
    case when s.surveyed_on is not null and s.surveyed_on is distinct from k.surveyed_on then 'surveyed_on' end,
    case when l.has_changed and s.changed_on is distinct from k.changed_on then 'changed_on' end,
    case when l.has_source and s.data_source is not null and s.data_source <> k.data_source then 'data_source' end,
    case when s.source_key is not null and s.source_key is distinct from k.source_key then 'source_key' end,
    case when (k.attrs - l.attr_names) || s.attrs <> k.attrs then 'attrs' end,
    case when d.moved_m > :same_m then 'geometry' end], null),
  d.moved_m
from staged_census s
join census_match m on m.n = s.n
join census_layer l on l.layer = s.layer
join layers.component k on k.id = coalesce(m.base_id, m.id)
cross join lateral (select case
  when st_dimension(s.geom) = 0 and st_dimension(k.geom) = 0 then st_distance(s.geom, k.geom)
  when st_orderingequals(s.geom, k.geom) then 0
  else greatest(st_hausdorffdistance(s.geom, k.geom), st_hausdorffdistance(s.geom, k.geom, 0.25)) end as moved_m) d
where not s.error;

-- name: stage_census_compared
create index on census_compared (n);
analyze census_compared;

-- name: census_moved_far
select n, moved_m from census_compared where moved_m > :far_m order by n;

-- name: census_shifts
select s.layer, st_x(s.geom) - st_x(k.geom) as east_m, st_y(s.geom) - st_y(k.geom) as north_m
from census_compared c join staged_census s on s.n = c.n join layers.component k on k.id = c.id
where st_dimension(s.geom) = 0 and st_dimension(k.geom) = 0;

-- name: find_census_gone
insert into census_gone (id)
select k.id from layers.component k
where upper_inf(k.valid) and k.class_code = any (cast(:classes as text[]))
  and st_intersects(k.geom, st_geomfromewkb(:surveyed))
  and not exists (select from census_match m where m.id = k.id)
  and k.id <> all (cast(:unsure as bigint[]));

-- name: census_counts
select q.layer, q.class_code, q.fate, count(*) as rows from (
  select s.layer, s.class_code, case
    when s.error then 'refused'
    when c.n is null and s.n = any (cast(:ambiguous as bigint[])) then 'ambiguous'
    when c.n is null then 'new'
    when c.fields = '{}' then 'same'
    when c.fields = '{surveyed_on}' then 'confirmed'
    when 'geometry' = any (c.fields) then 'moved'
    else 'changed' end as fate
  from staged_census s left join census_compared c on c.n = s.n) q
group by q.layer, q.class_code, q.fate;

-- name: census_gone_counts
select k.class_code, count(*) as rows from census_gone g join layers.component k on k.id = g.id group by k.class_code;

-- name: census_differences
select case when 'geometry' = any (c.fields) then 'moved' else 'changed' end as fate, l.name as layer, s.row, k.code,
  k.class_code, array_to_string(c.fields, ', ') as fields,
  (select string_agg(f || ': ' || coalesce(v.old ->> f, '—'), '; ') from unnest(c.fields) f where f <> 'geometry') as before,
  (select string_agg(f || ': ' || coalesce(v.new ->> f, '—'), '; ') from unnest(c.fields) f where f <> 'geometry') as after,
  case when 'geometry' = any (c.fields) then c.moved_m end as moved_m, s.geom
from census_compared c
join staged_census s on s.n = c.n
join census_layer l on l.layer = s.layer
join layers.component k on k.id = c.id
left join layers.unit ks on ks.id = k.supervising_unit_id left join layers.unit ss on ss.id = s.supervising_unit_id
left join layers.unit ko on ko.id = k.owner_unit_id left join layers.unit so on so.id = s.owner_unit_id
left join layers.unit km on km.id = k.maintainer_unit_id left join layers.unit sm on sm.id = s.maintainer_unit_id
cross join lateral (select
  jsonb_build_object('name_zh', k.name_zh, 'state', k.state, 'supervising_unit', ks.code, 'owner_unit', ko.code,
    'maintainer_unit', km.code, 'surveyed_on', k.surveyed_on, 'changed_on', k.changed_on, 'data_source', k.data_source, 'source_key', k.source_key,
    'attrs', (select jsonb_object_agg(a.key, a.value) from jsonb_each(k.attrs) a
      where a.key = any (l.attr_names) and s.attrs -> a.key is distinct from a.value)) as old,
  jsonb_build_object('name_zh', s.name_zh, 'state', s.state, 'supervising_unit', ss.code, 'owner_unit', so.code,
    'maintainer_unit', sm.code, 'surveyed_on', s.surveyed_on, 'changed_on', s.changed_on, 'data_source', s.data_source, 'source_key', s.source_key,
    'attrs', (select jsonb_object_agg(a.key, a.value) from jsonb_each(s.attrs) a
      where k.attrs -> a.key is distinct from a.value)) as new) v
where c.fields <> '{}' and c.fields <> '{surveyed_on}' order by s.n limit :most;

-- name: census_news
select case when s.n = any (cast(:ambiguous as bigint[])) then 'ambiguous' else 'new' end as fate, l.name as layer, s.row, s.code,
  s.class_code, s.geom
from staged_census s join census_layer l on l.layer = s.layer
where not s.error and not exists (select from census_compared c where c.n = s.n) order by s.n limit :most;

-- name: census_gone_rows
select 'gone' as fate, k.code, k.class_code, k.source_key as before, k.geom
from census_gone g join layers.component k on k.id = g.id order by k.code limit :most;

-- name: number_census_rows
with lacking as (
  select s.n, s.district || substr(s.class_code, 2) as prefix,
    row_number() over (partition by s.district, s.class_code order by s.n) as rank
  from staged_census s
  where s.code is null and not s.error and not s.n = any (cast(:ambiguous as bigint[]))
    and not exists (select from census_match m where m.n = s.n)),
prefixes as materialized (
  select q.prefix, greatest(layers.last_serial(q.prefix), coalesce((
    select right(max(s.code), 6)::integer from staged_census s
    where s.code > q.prefix and s.code < q.prefix || ':' and length(s.code) = length(q.prefix) + 6), 0)) as last
  from (select distinct prefix from lacking order by prefix) q)
update staged_census s set code = l.prefix || lpad((p.last + l.rank)::text, greatest(6, length((p.last + l.rank)::text)), '0')
from lacking l join prefixes p on p.prefix = l.prefix where s.n = l.n;

-- name: census_codes_far
-- Codes of the file far beyond what was given out and the file itself could fill: the next numbers begin behind them.
with given as (
  select s.n, s.code, left(s.code, -6) as prefix, right(s.code, 6)::integer as serial,
    count(*) over (partition by left(s.code, -6)) as many
  from staged_census s
  where s.code is not null and not s.error and not exists (select from census_match m where m.n = s.n)),
last as materialized (
  select q.prefix, coalesce((
    select right(max(k.code), 6)::integer from layers.component k
    where k.code > q.prefix and k.code < q.prefix || ':' and length(k.code) = length(q.prefix) + 6), 0) as serial
  from (select distinct prefix from given) q)
select g.n from given g join last l on l.prefix = g.prefix where g.serial > l.serial + g.many + :room order by g.n;

-- name: census_class_sizes
-- By class, how many of the inventory stand in the surveyed extent.
select k.class_code, count(*) as components from layers.component k
where upper_inf(k.valid) and k.class_code = any (cast(:classes as text[])) and st_intersects(k.geom, st_geomfromewkb(:surveyed))
group by k.class_code;

-- name: census_refused_classes
-- Classes that refused rows may be of which match nothing: as they say, and as their code says; null: any.
select distinct c.class_code from staged_census s
cross join lateral (values (s.class_code), ('C' || substr(s.code, 7, length(s.code) - 12))) c (class_code)
where s.error and not exists (select from census_match m where m.n = s.n)
  and (c.class_code is not null or s.class_code is null and s.code is null);

-- name: census_serials_over
select n from staged_census where length(code) > 17 or length(code) - 6 <> 5 + length(class_code) order by n;

-- name: census_instant
select greatest(clock_timestamp(), coalesce(max(lower(k.valid)) + interval '1 microsecond', '-infinity'))
from layers.component k where k.id in (
  select id from census_gone union all select c.id from census_compared c where c.fields <> '{}');

-- name: end_census_versions
update layers.component k set valid = tstzrange(lower(k.valid), :at), ended_change_id = :change_id
where upper_inf(k.valid) and k.id in (
  select id from census_gone union all select c.id from census_compared c where c.fields <> '{}');

-- name: begin_census_versions
insert into layers.component (code, edition, class_code, name_zh, cell_code, supervising_unit_id, owner_unit_id,
  maintainer_unit_id, state, surveyed_on, changed_on, data_source, attrs, source_key, geom, valid, change_id)
select k.code, k.edition, k.class_code, case when l.has_name then s.name_zh else k.name_zh end,
  case when 'geometry' = any (c.fields) then s.cell_code else k.cell_code end,
  case when l.has_supervising then s.supervising_unit_id else k.supervising_unit_id end,
  case when l.has_owner then s.owner_unit_id else k.owner_unit_id end,
  case when l.has_maintainer then s.maintainer_unit_id else k.maintainer_unit_id end,
  coalesce(s.state, k.state), coalesce(s.surveyed_on, k.surveyed_on),
  case when l.has_changed then s.changed_on else k.changed_on end, coalesce(s.data_source, nullif(l.source, ''), k.data_source),
  (k.attrs - l.attr_names) || s.attrs, coalesce(s.source_key, k.source_key),
  case when 'geometry' = any (c.fields) then s.geom else k.geom end, tstzrange(:at, null), :change_id
from census_compared c
join staged_census s on s.n = c.n
join census_layer l on l.layer = s.layer
join layers.component k on k.id = c.id
where c.fields <> '{}';

-- name: begin_census_components
insert into layers.component (code, edition, class_code, name_zh, cell_code, supervising_unit_id, owner_unit_id,
  maintainer_unit_id, state, surveyed_on, changed_on, data_source, attrs, source_key, geom, valid, change_id)
select s.code, :edition, s.class_code, s.name_zh, s.cell_code, s.supervising_unit_id, s.owner_unit_id, s.maintainer_unit_id,
  coalesce(s.state, 'intact'), s.surveyed_on, s.changed_on, coalesce(s.data_source, nullif(l.source, ''), :file_name), s.attrs,
  s.source_key, s.geom, tstzrange(:at, null), :change_id
from staged_census s join census_layer l on l.layer = s.layer
where not s.error and not s.n = any (cast(:ambiguous as bigint[]))
  and not exists (select from census_match m where m.n = s.n)
order by s.code, s.n;

-- name: record_census
insert into layers.census (file_name, sha256, mapping, surveyed, class_codes, counts, change_id, imported_at, imported_by)
values (:file_name, :sha256, cast(:mapping as jsonb), st_multi(st_geomfromewkb(:surveyed)), cast(:class_codes as text[]),
  cast(:counts as jsonb), :change_id, :at, :actor)
returning id;

-- name: hold_census
select pg_advisory_xact_lock(hashtextextended('wanmi:census', 0));

-- name: list_censuses
select c.id, c.file_name, c.sha256, c.class_codes, c.counts, c.change_id, c.imported_at, c.imported_by, c.undone_at, c.undone_by,
  g.reason
from layers.census c join gis.change g on g.id = c.change_id order by c.id;

-- name: lock_census
select id, file_name, change_id, undone_at, undone_by from layers.census where id = :id for update;

-- name: census_edited_since
-- Components that are not what the import left them as. What a later import changed and its undo brought back is as it was.
with left_as as (
  select distinct on (q.code) q.code, q.mark from (
    select k.code, layers.fingerprint(k) as mark from layers.component k where k.change_id = :change_id
    union all
    select k.code, null from layers.component k where k.ended_change_id = :change_id) q
  order by q.code, q.mark nulls last)
select l.code from left_as l left join layers.component k on k.code = l.code and upper_inf(k.valid)
where l.mark is distinct from case when k.id is not null then layers.fingerprint(k) end order by l.code;

-- name: undo_instant
select greatest(clock_timestamp(), max(lower(o.valid)) + interval '1 microsecond', max(upper(k.valid)))
from layers.component k left join layers.component o on o.code = k.code and upper_inf(o.valid)
where k.change_id = :change_id or k.ended_change_id = :change_id;

-- name: undo_end
update layers.component k set valid = tstzrange(lower(k.valid), :at), ended_change_id = :undo_id
where upper_inf(k.valid) and k.code in (select o.code from layers.component o where o.change_id = :change_id)
  and k.code <> all (cast(:kept as text[]));

-- name: undo_begin
insert into layers.component (code, edition, class_code, name_zh, cell_code, supervising_unit_id, owner_unit_id,
  maintainer_unit_id, state, surveyed_on, changed_on, data_source, attrs, source_key, geom, valid, change_id)
select k.code, k.edition, k.class_code, k.name_zh,
  (select c.code from grids.cell c
   where upper_inf(c.valid) and st_covers(c.geom, case when st_dimension(k.geom) = 0 then k.geom else st_pointonsurface(k.geom) end)
   order by c.code || '' limit 1),
  k.supervising_unit_id, k.owner_unit_id, k.maintainer_unit_id, k.state, k.surveyed_on, k.changed_on, k.data_source, k.attrs,
  k.source_key, k.geom, tstzrange(:at, null), :undo_id
from layers.component k
where k.ended_change_id = :change_id and k.code <> all (cast(:kept as text[]));

-- name: mark_census_undone
update layers.census set undone_change_id = :undo_id, undone_at = :at, undone_by = :actor where id = :id;

-- ── the catalogue ──────────────────────────────────────────────────────────

-- name: edition_in_force
select layers.edition_at(cast(:at as timestamptz));

-- name: hold_catalogue
select pg_advisory_xact_lock(hashtextextended('wanmi:catalogue', 0));

-- name: put_in_force
insert into layers.edition_in_force (since, edition, change_id)
select greatest(cast(:since as timestamptz), (select max(since) + interval '1 microsecond' from layers.edition_in_force)),
  :edition, :change_id
returning since;

-- name: add_edition
insert into layers.edition (code, name_zh, name_en, kind, source, change_id)
values (:code, :name_zh, :name_en, :kind, :source, :change_id) on conflict (code) do nothing;

-- name: class_alike
-- What the sheet or profile of a city does not say of its classes: as the class of the same number and name has it.
update layers.class c set never_on = n.never_on, attribute_schema = n.attribute_schema
from layers.class n
where c.edition = :edition and n.edition = :like and n.code = c.code and n.name_zh = c.name_zh
  and c.never_on = '{}' and c.attribute_schema = '{}';

-- name: editions
select e.code, e.name_zh, e.name_en, e.kind, e.source, g.at as imported_at, g.actor as imported_by,
  (select count(*) from layers.class c where c.edition = e.code and c.kind = 'component') as components,
  (select count(*) from layers.class c where c.edition = e.code and c.kind = 'event') as events,
  (select count(*) from layers.condition c where c.edition = e.code) as conditions,
  e.code = layers.edition_at(null) as in_force
from layers.edition e left join gis.change g on g.id = e.change_id order by e.kind desc, g.id nulls first, e.code;

-- name: editions_in_force
select f.since, f.edition, g.actor, g.reason
from layers.edition_in_force f join gis.change g on g.id = f.change_id order by f.since;

-- name: edition_majors
select code, name_zh, name_en from layers.major where edition = :edition order by code;

-- name: edition_classes
select code, kind, name_zh, name_en, geometry_type, accuracy_class, attribute_schema, never_on, source
from layers.class where edition = :edition order by code;

-- name: edition_conditions
select class_code, no, condition_zh, condition_en, closing_result_zh, disposal_unit_zh, supervising_unit_zh, source
from layers.condition
where edition = :edition and (cast(:class_code as text) is null or class_code = :class_code) order by class_code, no;

-- name: edition_limits
select class_code, condition_no, area_class, value, basis from layers.time_limit
where edition = :edition and (cast(:class_code as text) is null or class_code = :class_code)
order by class_code, condition_no, area_class;

-- name: mapped_classes
-- in the direction in which it was written, else turned round
select from_code, to_code, relation, reviewed, source from layers.class_mapping
where from_edition = :from_edition and to_edition = :to_edition
union all
select to_code, from_code, case relation when 'split' then 'merged' when 'merged' then 'split' else relation end, reviewed, source
from layers.class_mapping m
where from_edition = :to_edition and to_edition = :from_edition and to_code is not null and not exists (
  select from layers.class_mapping o where o.from_edition = :from_edition and o.to_edition = :to_edition)
order by 1, 2;

-- name: mapping_of_class
select to_edition as edition, to_code as code, relation, reviewed from layers.class_mapping
where from_edition = :edition and from_code = :code
union
select from_edition, from_code, case relation when 'split' then 'merged' when 'merged' then 'split' else relation end, reviewed
from layers.class_mapping where to_edition = :edition and to_code = :code
order by 1, 2;

-- name: inherit_mapping
-- A new edition's classes that are still what they were correspond to what those did.
insert into layers.class_mapping (from_edition, from_code, to_edition, to_code, relation, reviewed, source)
select :edition, n.code, m.to_edition, m.to_code, m.relation, m.reviewed, m.source
from layers.class_mapping m
join layers.class o on o.edition = m.from_edition and o.code = m.from_code
join layers.class n on n.edition = :edition and n.code = o.code and n.name_zh = o.name_zh
where m.from_edition = :base and m.to_edition in (select code from layers.edition where kind = 'national');

-- name: components_of_classes
select k.class_code, count(*) as components from layers.component k
where upper_inf(k.valid) and k.class_code = any (:codes) group by k.class_code;

-- name: export_components
-- The components that held at an instant ('infinity': that hold now), narrowed by class, area and box where these are given.
select k.code, k.edition, k.class_code, l.name_zh as class_zh, k.name_zh, k.state,
  s.code as supervising_unit, s.name_zh as supervising_name, o.code as owner_unit, o.name_zh as owner_name,
  m.code as maintainer_unit, m.name_zh as maintainer_name, k.surveyed_on, k.changed_on, k.data_source, k.source_key, placed.cell_code,
  layers.fingerprint(k) as fingerprint,
  street.name_zh as street_name, community.name_zh as community_name, k.attrs, k.geom
from layers.components_at(cast(:at as timestamptz)) k
cross join lateral (select layers.cell_then(k, cast(:at as timestamptz)) as cell_code) placed
join layers.class l on l.edition = k.edition and l.code = k.class_code
left join layers.unit s on s.id = k.supervising_unit_id
left join layers.unit o on o.id = k.owner_unit_id
left join layers.unit m on m.id = k.maintainer_unit_id
left join grids.area street on street.code = left(placed.cell_code, 9) and upper_inf(street.valid)
left join grids.area community on community.code = left(placed.cell_code, 12) and upper_inf(community.valid)
where (cast(:classes as text[]) is null or exists (select from unnest(cast(:classes as text[])) p where starts_with(k.class_code, p)))
  and (cast(:areas as text[]) is null or exists (select from unnest(cast(:areas as text[])) p where starts_with(placed.cell_code, p)))
  and (cast(:west as float8) is null
    or st_intersects(k.geom, st_makeenvelope(:west, cast(:south as float8), cast(:east as float8), cast(:north as float8), :box_srid)))
order by k.code;

-- ── one component through time ─────────────────────────────────────────────

-- name: versions_of_component
select k.id, k.code, k.edition, k.class_code, k.name_zh, k.cell_code, k.state, s.code as supervising_unit, o.code as owner_unit,
  m.code as maintainer_unit, k.surveyed_on, k.changed_on, k.data_source, k.source_key, k.attrs, st_asbinary(k.geom) as geom,
  lower(k.valid) as since, upper(k.valid) as until, c.actor, c.reason, e.actor as ended_by, e.reason as ended_why
from layers.component k
join gis.change c on c.id = k.change_id
left join gis.change e on e.id = k.ended_change_id
left join layers.unit s on s.id = k.supervising_unit_id
left join layers.unit o on o.id = k.owner_unit_id
left join layers.unit m on m.id = k.maintainer_unit_id
where k.code = :code order by lower(k.valid);

-- name: key_is_taken
select k.code from layers.component k
where upper_inf(k.valid) and k.class_code = :class_code and k.source_key = :source_key and k.code is distinct from :code limit 1;

-- name: lock_component
-- The code, not a row: who waited for a row finds it ended, and would hold nothing.
select pg_advisory_xact_lock(hashtextextended('wanmi:component:' || :code, 0));

-- name: edit_instant
select greatest(clock_timestamp(), coalesce(max(lower(k.valid)) + interval '1 microsecond', '-infinity'))
from layers.component k where k.code = :code and upper_inf(k.valid);

-- name: revive_instant
select greatest(clock_timestamp(), max(upper(k.valid))) from layers.component k where k.code = :code;

-- name: end_component
update layers.component k set valid = tstzrange(lower(k.valid), :at), ended_change_id = :change_id
where k.id = :id and upper_inf(k.valid);

-- name: begin_component
insert into layers.component (code, edition, class_code, name_zh, cell_code, supervising_unit_id, owner_unit_id,
  maintainer_unit_id, state, surveyed_on, changed_on, data_source, attrs, source_key, geom, valid, change_id)
select :code, :edition, :class_code, :name_zh,
  (select c.code from grids.cell c
   where upper_inf(c.valid) and st_covers(c.geom, case when st_dimension(g.geom) = 0 then g.geom else st_pointonsurface(g.geom) end)
   order by c.code || '' limit 1),
  :supervising_unit_id, :owner_unit_id, :maintainer_unit_id, :state, :surveyed_on, :changed_on, :data_source,
  cast(:attrs as jsonb), :source_key, g.geom, tstzrange(:at, null), :change_id
from (select st_geomfromewkb(:geom) as geom) g;

-- name: district_of_shape
select a.code from grids.area a
where upper_inf(a.valid) and a.level = 'district' and st_covers(a.geom, st_pointonsurface(st_geomfromewkb(:geom)))
order by a.code limit 1;

-- name: last_serial
select layers.last_serial(:prefix);

-- name: hold_edit_key
select pg_advisory_xact_lock(hashtextextended(:name, 0));

-- name: edit_key_code
select code, request_sha256 from layers.edit_key where actor = :actor and key = :key;

-- name: keep_edit_key
insert into layers.edit_key (actor, key, code, request_sha256) values (:actor, :key, :code, :request_sha256);

-- name: census_progress
-- Of each community and class: what stands, what was seen since a day and differs from then, what was seen when; what went.
-- Where history begins after that day, what it begins with is not new.
with start as materialized (select greatest(cast(:since_at as timestamptz), min(lower(valid))) as at from layers.component),
standing as (
  select coalesce(left(k.cell_code, 12), '') as community, k.class_code, k.edition,
    case when k.surveyed_on >= cast(:since_on as date) then 'surveyed' when k.surveyed_on >= cast(:fresh_on as date) then 'to_confirm'
      else 'stale' end as standing,
    case when lower(k.valid) <= start.at then 'same'
      when b.id is null then 'new'
      when (k.name_zh, k.state, k.supervising_unit_id, k.owner_unit_id, k.maintainer_unit_id, k.changed_on, k.attrs)
        is distinct from (b.name_zh, b.state, b.supervising_unit_id, b.owner_unit_id, b.maintainer_unit_id, b.changed_on, b.attrs)
        or not st_orderingequals(k.geom, b.geom) then 'changed'
      else 'same' end as fate
  from start cross join layers.component k
  left join layers.component b on lower(k.valid) > start.at and b.code = k.code and b.valid @> start.at
  where upper_inf(k.valid)
    and (cast(:classes as text[]) is null or exists (select from unnest(cast(:classes as text[])) p where starts_with(k.class_code, p)))
    and (cast(:areas as text[]) is null or exists (select from unnest(cast(:areas as text[])) p where starts_with(k.cell_code, p)))
  union all
  select coalesce(left(k.cell_code, 12), ''), k.class_code, k.edition, 'gone', 'gone'
  from start join layers.component k on not upper_inf(k.valid) and k.valid @> start.at
  where not exists (select from layers.component n where n.code = k.code and upper_inf(n.valid))
    and (cast(:classes as text[]) is null or exists (select from unnest(cast(:classes as text[])) p where starts_with(k.class_code, p)))
    and (cast(:areas as text[]) is null or exists (select from unnest(cast(:areas as text[])) p where starts_with(k.cell_code, p)))),
counted as (
  select community, class_code, max(edition) as edition, count(*) filter (where standing <> 'gone') as components,
    count(*) filter (where standing = 'surveyed') as surveyed, count(*) filter (where standing = 'surveyed' and fate = 'new') as new,
    count(*) filter (where standing = 'surveyed' and fate = 'changed') as changed,
    count(*) filter (where standing = 'to_confirm') as to_confirm, count(*) filter (where standing = 'stale') as stale,
    count(*) filter (where standing = 'gone') as gone
  from standing group by community, class_code)
select c.community, c.class_code, l.name_zh as class_zh, l.name_en as class_en, c.components, c.surveyed, c.new, c.changed,
  c.to_confirm, c.stale, c.gone
from counted c join layers.class l on l.edition = c.edition and l.code = c.class_code order by c.community, c.class_code;

-- name: component_differences
-- What differs between two instants; a component that came and went in between does not.
with touched as (
  select k.code from layers.component k
  where upper_inf(k.valid) and lower(k.valid) > :first_at and lower(k.valid) <= :last_at and (cast(:west as float8) is null
    or st_intersects(k.geom, st_makeenvelope(:west, cast(:south as float8), cast(:east as float8), cast(:north as float8), :box_srid)))
  union
  select k.code from layers.component k
  where not upper_inf(k.valid) and k.valid && tstzrange(:first_at, :last_at, '[]')
    and (lower(k.valid) > :first_at and lower(k.valid) <= :last_at or upper(k.valid) > :first_at and upper(k.valid) <= :last_at)
    and (cast(:west as float8) is null
      or st_intersects(k.geom, st_makeenvelope(:west, cast(:south as float8), cast(:east as float8), cast(:north as float8), :box_srid)))),
pairs as (
  select t.code, o.id as old_id, n.id as new_id, coalesce(n.class_code, o.class_code) as class_code,
    coalesce(n.edition, o.edition) as edition, o.cell_code as old_cell, n.cell_code as new_cell,
    layers.differing(layers.component_facts(o), layers.component_facts(n)) as fields,
    case when st_orderingequals(o.geom, n.geom) then 0
      when st_dimension(o.geom) = 0 and st_dimension(n.geom) = 0 then st_distance(o.geom, n.geom)
      else st_hausdorffdistance(o.geom, n.geom, 0.25) end as moved_m,
    o.geom as old_geom, coalesce(n.geom, o.geom) as geom, coalesce(n.change_id, o.ended_change_id) as change_id,
    coalesce(lower(n.valid), upper(o.valid)) as at
  from touched t
  left join layers.component o on o.code = t.code and o.valid @> cast(:first_at as timestamptz)
  left join layers.component n on n.code = t.code and n.valid @> cast(:last_at as timestamptz)
  where o.id is distinct from n.id
    and (cast(:classes as text[]) is null or exists (
      select from unnest(cast(:classes as text[])) p where starts_with(coalesce(n.class_code, o.class_code), p)))
    and (cast(:areas as text[]) is null or exists (
      select from unnest(cast(:areas as text[])) p where starts_with(o.cell_code, p) or starts_with(n.cell_code, p)))),
differing as (
  select p.*, count(*) over () as matched, case when old_id is null then 'new' when new_id is null then 'retired'
    when not st_orderingequals(old_geom, geom) then 'moved' else 'changed' end as fate
  from pairs p where old_id is null or new_id is null or fields <> '{}' or not st_orderingequals(old_geom, geom))
select d.code, d.class_code, l.name_zh as class_zh, l.name_en as class_en, d.fate,
  case when d.old_id is not null and d.new_id is not null then d.fields else '{}' end as fields, d.moved_m, d.old_cell, d.new_cell,
  d.at, c.actor, c.reason, d.geom, d.matched
from differing d join layers.class l on l.edition = d.edition and l.code = d.class_code join gis.change c on c.id = d.change_id
where d.code > :after order by d.code limit :most;

-- name: list_components
-- The components that held at an instant ('infinity': that hold now), a page of them.
select k.code, k.id as version, k.class_code, l.name_zh as class_zh, l.name_en as class_en, k.name_zh, k.state, layers.cell_then(k, cast(:at as timestamptz)) as cell_code,
  s.code as supervising_unit, o.code as owner_unit, m.code as maintainer_unit, k.surveyed_on, k.changed_on, k.data_source,
  k.attrs, lower(k.valid) as since, st_asgeojson(st_transform(k.geom, 4326), 9)::json as geometry
from layers.components_at(cast(:at as timestamptz)) k
join layers.class l on l.edition = k.edition and l.code = k.class_code
left join layers.unit s on s.id = k.supervising_unit_id
left join layers.unit o on o.id = k.owner_unit_id
left join layers.unit m on m.id = k.maintainer_unit_id
where k.code > :after
  and (cast(:classes as text[]) is null or exists (select from unnest(cast(:classes as text[])) p where starts_with(k.class_code, p)))
  and (cast(:areas as text[]) is null or exists (select from unnest(cast(:areas as text[])) p where starts_with(layers.cell_then(k, cast(:at as timestamptz)), p)))
  and (cast(:west as float8) is null
    or st_intersects(k.geom, st_makeenvelope(:west, cast(:south as float8), cast(:east as float8), cast(:north as float8), :box_srid)))
order by k.code limit :most;

-- name: count_components_at
select count(*) from layers.components_at(cast(:at as timestamptz)) k
where (cast(:classes as text[]) is null or exists (select from unnest(cast(:classes as text[])) p where starts_with(k.class_code, p)))
  and (cast(:areas as text[]) is null or exists (select from unnest(cast(:areas as text[])) p where starts_with(layers.cell_then(k, cast(:at as timestamptz)), p)))
  and (cast(:west as float8) is null
    or st_intersects(k.geom, st_makeenvelope(:west, cast(:south as float8), cast(:east as float8), cast(:north as float8), :box_srid)));

-- name: area_names
select code, name_zh from grids.area where upper_inf(valid);

-- name: areas_as_places
select code, name_zh, name_en, data_source, geom from grids.area where upper_inf(valid);

-- name: ground_as_places
-- Named ground, the pieces of one name together; a road's pieces that lie more than 500 m apart are two roads.
select case q.kind when 'street' then 'road' when 'building' then 'poi' else q.kind end as kind,
  q.name_zh || case when q.cluster = 0 then '' else '#' || q.cluster end as code, q.name_zh, min(q.name_en) as name_en,
  min(q.data_source) as data_source,
  case st_dimension(st_collect(q.geom)) when 1 then st_linemerge(st_unaryunion(st_collect(q.geom)))
    else st_unaryunion(st_collect(q.geom)) end as geom
from (
  select b.*, st_clusterdbscan(b.geom, 500, 1) over (partition by b.kind, b.name_zh) as cluster
  from grids.barrier b where upper_inf(b.valid) and b.name_zh is not null and b.kind <> 'wall') q
group by q.kind, q.name_zh, q.cluster;

-- name: place_places
-- The smallest area that holds each new place.
update layers.place p set area_code = c.community_code
from grids.cell c
where p.area_code is null and p.kind <> 'area' and upper_inf(c.valid) and st_intersects(c.geom, st_pointonsurface(p.geom));
update layers.place p set area_code = split_part(p.code, ':', 2) where p.area_code is null and p.kind = 'area' and p.derived;

-- name: places_named
-- The same name, the same by sound, the same first letters; also of versions that have ended, shown as what they are now.
with hit as (
  select p.code, case when p.keys[1] = :key then 1.0 else 0.97 end as fit, 'name' as how, p.name_zh, upper_inf(p.valid) as now from layers.place p
  where p.keys @> array[cast(:key as text)]
  union all
  select p.code, case when :latin then 0.95 else 0.88 end - case when p.sounds[1] = :sound then 0 else 0.02 end, 'sound', p.name_zh, upper_inf(p.valid) from layers.place p
  where p.sounds @> array[cast(:sound as text)]
  union all
  select p.code, 0.85, 'initials', p.name_zh, upper_inf(p.valid) from layers.place p
  where cast(:initials as text) is not null and p.initials @> array[cast(:initials as text)]),
best as (
  select distinct on (h.code) h.* from hit h order by h.code, h.fit desc, h.now desc)
select p.code, p.kind, p.name_zh, p.name_en, case when b.now then null when b.name_zh = p.name_zh then :key else b.name_zh end as former, p.area_code, p.number,
  b.fit, b.how, st_x(o.point) as x, st_y(o.point) as y, st_xmin(p.geom) as west, st_ymin(p.geom) as south,
  st_xmax(p.geom) as east, st_ymax(p.geom) as north
from best b join layers.place p on p.code = b.code and upper_inf(p.valid)
cross join lateral (select case st_dimension(p.geom) when 0 then st_centroid(p.geom)
  when 1 then st_closestpoint(p.geom, st_centroid(p.geom)) else st_pointonsurface(p.geom) end as point) o
where cast(:kind as text) is null or p.kind = :kind
order by b.fit desc, p.kind, p.code limit :most;

-- name: places_alike
-- A part of the name, or alike by trigrams of its letters and its sound.
with hit as (
  select p.code, p.name_zh, upper_inf(p.valid) as now, greatest(
    case when p.spelling like '%' || :key || '%' then 0.6 + 0.25 * length(:key) / greatest(length(p.name_zh), length(:key)) end,
    0.85 * word_similarity(:sound, p.spelling) * least(1.0, length(:sound)::float / greatest(length(split_part(p.spelling, ' ', 2)), 1)),
    0.85 * similarity(:sound, p.sounds[1]), 0.9 * similarity(:key, p.keys[1])) as fit,
    case when p.spelling like '%' || :key || '%' then 'part' else 'alike' end as how
  from layers.place p
  where p.kind <> 'door' and (cast(:kind as text) is null or p.kind = :kind)
    and (p.spelling like '%' || :key || '%' or :sound <% p.spelling)),
best as (
  select distinct on (h.code) h.* from hit h order by h.code, h.fit desc, h.now desc)
select p.code, p.kind, p.name_zh, p.name_en, case when b.now then null when b.name_zh = p.name_zh then :key else b.name_zh end as former, p.area_code, p.number,
  b.fit, b.how, st_x(o.point) as x, st_y(o.point) as y, st_xmin(p.geom) as west, st_ymin(p.geom) as south,
  st_xmax(p.geom) as east, st_ymax(p.geom) as north
from (select * from best order by fit desc, code limit :most) b join layers.place p on p.code = b.code and upper_inf(p.valid)
cross join lateral (select case st_dimension(p.geom) when 0 then st_centroid(p.geom)
  when 1 then st_closestpoint(p.geom, st_centroid(p.geom)) else st_pointonsurface(p.geom) end as point) o
order by b.fit desc, p.kind, p.code;

-- name: doors_near_number
-- The door of a number on a road and its neighbours, on the same side or on either.
(select p.code, p.kind, p.name_zh, p.name_en, null as former, p.area_code, p.number, st_x(o.point) as x, st_y(o.point) as y,
   st_xmin(p.geom) as west, st_ymin(p.geom) as south, st_xmax(p.geom) as east, st_ymax(p.geom) as north
 from layers.place p cross join lateral (select st_pointonsurface(p.geom) as point) o
 where p.kind = 'door' and upper_inf(p.valid) and p.road = :road and p.number <= :number and (not :same_side or (p.number - :number) % 2 = 0)
 order by p.number desc limit 2)
union all
(select p.code, p.kind, p.name_zh, p.name_en, null, p.area_code, p.number, st_x(o.point), st_y(o.point),
   st_xmin(p.geom), st_ymin(p.geom), st_xmax(p.geom), st_ymax(p.geom)
 from layers.place p cross join lateral (select st_pointonsurface(p.geom) as point) o
 where p.kind = 'door' and upper_inf(p.valid) and p.road = :road and p.number > :number and (not :same_side or (p.number - :number) % 2 = 0)
 order by p.number limit 1)
order by number;

-- name: place_of_code
select p.code, p.kind, p.name_zh, p.name_en, null as former, p.area_code, p.number, st_x(o.point) as x, st_y(o.point) as y,
  st_xmin(p.geom) as west, st_ymin(p.geom) as south, st_xmax(p.geom) as east, st_ymax(p.geom) as north
from layers.place p cross join lateral (select st_pointonsurface(p.geom) as point) o
where p.code = :code and upper_inf(p.valid);

-- name: places_are_there
select exists (select from layers.place);

-- name: cell_at
select c.code from grids.cell c, grids.city
where upper_inf(c.valid) and st_dwithin(c.geom, st_setsrid(st_makepoint(:x, :y), :srid), city.tolerance_m)
order by st_distance(c.geom, st_setsrid(st_makepoint(:x, :y), :srid)), c.code || '' limit 1;

-- name: place_by_code
select 'cell' as kind, null as name_zh, c.community_code as area_code, st_x(o.point) as x, st_y(o.point) as y
from grids.cell c cross join lateral (select st_pointonsurface(c.geom) as point) o where c.code = :code and upper_inf(c.valid)
union all
select 'component', coalesce(k.name_zh, l.name_zh), left(k.cell_code, 12), st_x(o.point), st_y(o.point)
from layers.component k join layers.class l on l.edition = k.edition and l.code = k.class_code
cross join lateral (select st_pointonsurface(k.geom) as point) o where k.code = :code and upper_inf(k.valid)
union all
select 'area', a.name_zh, a.code, st_x(o.point), st_y(o.point)
from grids.area a cross join lateral (select st_pointonsurface(a.geom) as point) o where a.code = :code and upper_inf(a.valid)
limit 1;

-- name: hold_places
select pg_advisory_xact_lock(hashtextextended('wanmi:places', 0));

-- name: places_now
select code, kind, name_zh, name_en, other_names, road, number, derived, data_source, geom from layers.place
where upper_inf(valid) order by code;

-- name: places_instant
select greatest(clock_timestamp(), (select max(lower(valid)) + interval '1 microsecond' from layers.place));

-- name: end_places
update layers.place set valid = tstzrange(lower(valid), :at) where code = any (cast(:codes as text[])) and upper_inf(valid);

-- name: places_of_components
select code, class_code, geom from layers.component where upper_inf(valid) and code = any (cast(:codes as text[])) order by code;

-- name: responsibility_table
select g.code, g.name_zh, g.name_en, m.cell_code, coalesce(g.collector_code, '') as collector
from grids.responsibility g join grids.responsibility_cell m on m.responsibility_id = g.id
where upper_inf(g.valid) order by g.code, m.cell_code;

-- name: responsibility_polygons
select g.code, g.name_zh, g.name_en, k.code as collector, k.name_zh as collector_zh, k.name_en as collector_en,
  count(*) as cells, round(sum(c.area_m2)::numeric) as area_m2, st_multi(st_union(c.geom)) as geom
from grids.responsibility g
join grids.responsibility_cell m on m.responsibility_id = g.id
join grids.cell c on c.code = m.cell_code and upper_inf(c.valid)
left join layers.collector k on k.code = g.collector_code
where upper_inf(g.valid) group by g.code, g.name_zh, g.name_en, k.code, k.name_zh, k.name_en order by g.code;

-- name: collector_codes
select code from layers.collector order by code;

-- name: hold_grid_alone
select pg_advisory_xact_lock(hashtextextended('wanmi:grid', 0));

-- name: responsibility_instant
select greatest(clock_timestamp(), (select max(lower(valid)) + interval '1 microsecond' from grids.responsibility));

-- name: end_responsibility
update grids.responsibility set valid = tstzrange(lower(valid), :at)
where code = any (cast(:codes as text[])) and upper_inf(valid);
