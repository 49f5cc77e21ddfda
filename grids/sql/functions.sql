-- Not strict, for a strict one would not be inlined: it would be planned and run by itself for each row.
create or replace function grids.area_prefixes(code text) returns text[]
language sql immutable parallel safe as $$
  select case when code is not null then array['', left(code, 4), left(code, 6), left(code, 9), left(code, 12), code] end
$$;
comment on function grids.area_prefixes is 'A cell''s code and the codes of all areas that contain it, '''' for anywhere';

create or replace view served.area as
  select a.code, a.level, a.parent_code, a.name_zh, a.name_en, a.data_source, c.simulated, a.geom
  from grids.area a, grids.city c where upper_inf(a.valid);
comment on view served.area is 'Administrative areas of today';

create or replace view served.cell as
  select k.code, k.community_code, k.area_m2, k.area_class, c.simulated, k.geom, st_perimeter(k.geom) as perimeter_m,
    4 * pi() * k.area_m2 / st_perimeter(k.geom) ^ 2 as compactness
  from grids.cell k, grids.city c where upper_inf(k.valid);
comment on view served.cell is 'Unit grid cells of today; compactness is 4πA/P²: 1 for a circle, 0.785 for a square';

create or replace view served.ground as
  select b.id, b.kind, b.grade, b.name_zh, b.name_en, b.width_m, b.data_source, c.simulated, b.geom
  from grids.barrier b, grids.city c where upper_inf(b.valid);
comment on view served.ground is 'Streets, rail, water, walls, buildings and green of today';

create or replace view served.area_name as
  select a.code, a.level, a.name_zh, a.name_en, c.simulated, st_pointonsurface(a.geom) as geom
  from grids.area a, grids.city c where upper_inf(a.valid);
comment on view served.area_name is 'A point in each administrative area of today, for its name on a map';

create or replace trigger area_written after insert or update or delete or truncate on grids.area
  for each statement execute function gis.count_write('areas');
create or replace trigger cell_written after insert or update or delete or truncate on grids.cell
  for each statement execute function gis.count_write('cells');
create or replace trigger ground_written after insert or update or delete or truncate on grids.barrier
  for each statement execute function gis.count_write('ground');

-- Publish a draft: the one place where versions of cells close and open. All of it at one instant and by one change:
-- cells that vanished end, cells that changed end and begin anew, unchanged ones keep their version. Responsibility
-- grids that held an ended code get a new version in which the codes on its ground follow. The caller has checked the
-- draft and put the neighbours that share new vertices beside its cells (draft_cell.outside).
-- Raises WM404 for no such edition, WM409 when it is no draft any more or its cells are not today's any more.
create or replace function grids.publish(edition bigint, actor text)
returns table (
  what text, code text, old_id bigint, new_id bigint, successor text, share_of_old double precision,
  share_of_new double precision)
language plpgsql as $$
#variable_conflict use_column
declare
  drafted grids.edition;
  instant timestamptz;
  change bigint;
  newer text;
begin
  perform pg_advisory_xact_lock(hashtextextended('wanmi:grid', 0));  -- cases that open wait here, see cases.open_case
  select * into drafted from grids.edition e where e.id = edition for update;
  if drafted.id is null then
    raise exception 'there is no draft % | 没有草稿 %', edition, edition using errcode = 'WM404';
  elsif drafted.state <> 'draft' then
    raise exception 'draft % is % already | 草稿 % 已结束', edition, drafted.state, edition using errcode = 'WM409';
  end if;

  perform from grids.cell c where upper_inf(c.valid)
    and (c.community_code = any (drafted.communities) or c.code in (
      select d.code from grids.draft_cell d where d.edition_id = edition)) order by c.id for update;
  select string_agg(distinct c.code, ', ' order by c.code) into newer from grids.cell c
  where (upper_inf(c.valid) and c.community_code = any (drafted.communities) and c.id <> all (drafted.base_ids))
    or (c.id = any (drafted.base_ids) and not upper_inf(c.valid));
  if newer is not null then
    raise exception 'cells have changed since draft % was opened: % | 草稿 % 打开后网格已变更:%', edition,
      left(newer, 200), edition, left(newer, 200) using errcode = 'WM409';
  end if;

  create temporary table if not exists closing (id bigint primary key, code text, geom geometry) on commit drop;
  create temporary table if not exists opening_cell (
    id bigint, code text primary key, area_class text, geom geometry) on commit drop;
  truncate closing, opening_cell;
  insert into opening_cell (code, area_class, geom)
  select d.code, d.area_class, d.geom from grids.draft_cell d
  where d.edition_id = edition and not exists (
    select from grids.cell c where c.code = d.code and upper_inf(c.valid) and c.area_class = d.area_class
      and st_orderingequals(st_normalize(c.geom), st_normalize(d.geom)));
  insert into closing (id, code, geom)
  select c.id, c.code, c.geom from grids.cell c
  where upper_inf(c.valid) and (c.code in (select o.code from opening_cell o)
    or (c.community_code = any (drafted.communities) and c.code not in (
      select d.code from grids.draft_cell d where d.edition_id = edition)));

  if exists (select from opening_cell) or exists (select from closing) then
    select greatest(clock_timestamp(), max(lower(c.valid)) + interval '1 microsecond',
        (select max(lower(r.valid)) + interval '1 microsecond' from grids.responsibility r where upper_inf(r.valid)))
      into instant from grids.cell c join closing k on k.id = c.id;
    insert into gis.change (actor, reason, source)
    values (publish.actor, coalesce(drafted.note, 'the grid was redrawn'), 'edition ' || edition) returning id into change;
    update grids.cell c set valid = tstzrange(lower(c.valid), instant) from closing k where k.id = c.id;
    with born as (
      insert into grids.cell (code, area_class, geom, valid, change_id)
      select o.code, o.area_class, o.geom, tstzrange(instant, null), change from opening_cell o order by o.code
      returning id, code)
    update opening_cell o set id = born.id from born where born.code = o.code;

    insert into grids.lineage (old_id, new_id, edition_id, share_of_old, share_of_new)
    select k.id, o.id, edition, least(1, q.m2 / st_area(k.geom)), least(1, q.m2 / st_area(o.geom))
    from closing k join opening_cell o on k.geom && o.geom
    cross join lateral (select st_area(st_intersection(k.geom, o.geom)) as m2) q
    where k.code = o.code and q.m2 > 0 or q.m2 > 1.0 or q.m2 > 0.01 * least(st_area(k.geom), st_area(o.geom));

    perform grids.follow_responsibility(instant, change);
    update grids.edition e set base_ids = (  -- other drafts go on from the neighbours' new versions: only vertices came
      select array_agg(coalesce(o.id, b.id)) from unnest(e.base_ids) b (id)
      left join closing k on k.id = b.id left join opening_cell o on o.code = k.code)
    where e.state = 'draft' and e.id <> edition and e.base_ids && (select array_agg(k.id) from closing k);
  end if;
  update grids.edition e set state = 'published', ended_by = publish.actor, ended_at = clock_timestamp(), change_id = change
  where e.id = edition;

  return query
    select case
        when d.outside then 'noded'
        when k.id is null then 'new'
        when o.id is null then 'retired'
        when st_area(st_symdifference(k.geom, o.geom)) <= 0.002 * st_perimeter(o.geom) and c.area_class = o.area_class
          then 'noded'
        else 'changed' end,
      coalesce(o.code, k.code), k.id, o.id, s.code, l.share_of_old, l.share_of_new
    from closing k
    full join opening_cell o on o.code = k.code
    left join grids.cell c on c.id = k.id
    left join grids.draft_cell d on d.edition_id = edition and d.code = o.code
    left join grids.lineage l on l.old_id = k.id
    left join opening_cell s on s.id = l.new_id
    order by 2, s.code;
  delete from grids.draft_community h where h.edition_id = edition;
  delete from grids.draft_cell d where d.edition_id = edition;
end $$;
comment on function grids.publish is 'Make a draft the grid at one instant; returns what changed: each ended or begun cell with its successors';

create or replace function grids.follow_responsibility(instant timestamptz, change bigint) returns void
language plpgsql as $$
begin
  create temporary table if not exists following (
    code text, name_zh text, name_en text, collector_code text, old_id bigint, new_id bigint) on commit drop;
  truncate following;
  insert into following (code, name_zh, name_en, collector_code, old_id)
  select r.code, r.name_zh, r.name_en, r.collector_code, r.id from grids.responsibility r
  where upper_inf(r.valid) and exists (
    select from grids.responsibility_cell m join closing k on k.code = m.cell_code
    where m.responsibility_id = r.id and k.code not in (select o.code from opening_cell o))
  or upper_inf(r.valid) and exists (  -- a code that is new on its ground, while the old one goes on
    select from grids.responsibility_cell m join closing k on k.code = m.cell_code
    join grids.lineage l on l.old_id = k.id join opening_cell o on o.id = l.new_id
    where m.responsibility_id = r.id and o.code not in (select c.code from closing c))
  order by r.id for update;
  update grids.responsibility r set valid = tstzrange(lower(r.valid), instant) from following f where f.old_id = r.id;
  with born as (
    insert into grids.responsibility (code, name_zh, name_en, collector_code, valid, change_id)
    select f.code, f.name_zh, f.name_en, f.collector_code, tstzrange(instant, null), change from following f order by f.code
    returning id, code)
  update following f set new_id = born.id from born where born.code = f.code;
  insert into grids.responsibility_cell (responsibility_id, cell_code)
  select f.new_id, m.cell_code from following f join grids.responsibility_cell m on m.responsibility_id = f.old_id
  where not exists (
    select from closing k where k.code = m.cell_code and k.code not in (select o.code from opening_cell o))
  union
  select f.new_id, o.code
  from opening_cell o
  join lateral (  -- the predecessor with the largest share
    select k.code from grids.lineage l join closing k on k.id = l.old_id
    where l.new_id = o.id order by l.share_of_new desc, k.code limit 1) parent on true
  join grids.responsibility_cell m on m.cell_code = parent.code
  join following f on f.old_id = m.responsibility_id
  where o.code not in (select c.code from closing c);
end $$;
comment on function grids.follow_responsibility is 'Part of grids.publish: new codes join the responsibility grids of the cells they came from';
