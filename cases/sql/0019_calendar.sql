-- The work calendar: office periods, seasons, holidays and made-up working days as the city now counts them.
create table cases.calendar (
  id bigint generated always as identity primary key,
  since timestamptz not null default clock_timestamp(),
  change_id bigint not null references gis.change,
  hours text not null check (hours ~ '^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}( [0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2})*$'),
  day_hours double precision not null check (day_hours > 0 and day_hours <= 24),
  timezone text not null check (timezone <> ''),
  lines jsonb not null check (jsonb_typeof(lines) = 'array' and jsonb_array_length(lines) > 0)
);
comment on table cases.calendar is 'The work calendar (工作日历), append-only: the newest row holds; each row is a whole calendar';
comment on column cases.calendar.id is 'Number of this version; the highest holds';
comment on column cases.calendar.since is 'When it was written, UTC';
comment on column cases.calendar.change_id is 'The change that wrote it: who, why, from which file';
comment on column cases.calendar.hours is 'Office periods where a line gives none, local time: 08:00-12:00 14:00-18:00';
comment on column cases.calendar.day_hours is 'Working hours that one working day of a limit counts, also when seasons shift the office periods';
comment on column cases.calendar.timezone is 'Time zone of the hours and days, an IANA name';
comment on column cases.calendar.lines is 'Its lines: first_on, last_on (both inclusive), kind (office, holiday, working_day), hours, name_zh, name_en, source, provisional';

create function cases.refuse_rewriting_calendar() returns trigger language plpgsql as $$
begin
  raise exception 'calendars are append-only | 工作日历只能追加,不可更改' using errcode = 'WM409';
end $$;
comment on function cases.refuse_rewriting_calendar is 'Keeps cases.calendar append-only';
create trigger append_only before update or delete on cases.calendar
  for each row execute function cases.refuse_rewriting_calendar();
