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
  maintainer_unit_id, state, surveyed_on, changed_on, data_source, attrs, geom, valid, change_id)
select s.code, s.edition, s.class_code, s.name_zh, cell.code, s.supervising_unit_id, s.owner_unit_id,
  s.maintainer_unit_id, s.state, s.surveyed_on, s.changed_on, s.data_source, coalesce(s.attrs, '{}'), s.geom, s.valid,
  s.change_id
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
  (select count(*) from layers.condition) as conditions
from layers.class;

-- name: counts_of_units
select count(*) as units, (select count(*) from layers.collector) as collectors from layers.unit;

-- name: known_class
select name_zh, name_en from layers.class where code = :code limit 1;

-- name: known_classes
select code, name_zh, name_en from layers.class order by code;

-- name: conditions_of_class
select no from layers.condition where class_code = :class_code order by no;

-- name: class_of_component
select class_code from layers.component where code = :code and upper_inf(valid);

-- name: add_account
insert into layers.account (name, display_zh, display_en, roles, channel, unit_code, password_hash)
values (:name, :display_zh, :display_en, :roles, :channel, :unit_code, :password_hash)
on conflict (name) do nothing returning id;

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
select a.id, a.name, a.display_zh, a.display_en, a.roles, a.channel, a.unit_code, u.name_zh as unit_zh,
  u.name_en as unit_en, u.kind as unit_kind
from layers.token t join layers.account a on a.id = t.account_id left join layers.unit u on u.code = a.unit_code
where t.sha256 = :sha256 and t.kind = :kind and t.ends_at > clock_timestamp() and a.disabled_at is null;

-- name: units_below
with recursive below as (
  select id from layers.unit where code = :code
  union
  select u.id from layers.unit u join below b on u.parent_id = b.id)
select id from below;

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

-- name: nearest_components
select k.code, k.class_code, l.name_zh as class_zh, l.name_en as class_en, k.state, st_distance(k.geom, p.point) as distance_m,
  st_x(st_transform(st_centroid(k.geom), 4326)) as lon, st_y(st_transform(st_centroid(k.geom), 4326)) as lat
from (select st_setsrid(st_makepoint(:x, :y), :srid) as point) p
join layers.component k on upper_inf(k.valid) and st_dwithin(k.geom, p.point, :within_m)
join layers.class l on l.edition = k.edition and l.code = k.class_code
where cast(:class_code as text) is null or k.class_code = :class_code
order by distance_m, k.code limit :most;

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
