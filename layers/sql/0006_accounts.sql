create table layers.account (
  id bigint generated always as identity primary key,
  name text not null unique check (name ~ '^[a-z][a-z0-9._-]{1,39}$'),
  display_zh text not null check (display_zh <> ''),
  display_en text not null check (display_en <> ''),
  roles text[] not null check (cardinality(roles) > 0 and roles <@ array['collector', 'acceptor', 'duty_chief',
    'dispatcher', 'district_dispatcher', 'unit', 'leader', 'video_operator', 'gis_editor', 'planner', 'administrator',
    'channel']),
  channel text check (channel in ('public', 'web', 'video')),
  unit_code text,
  password_hash text,
  created_at timestamptz not null default clock_timestamp(),
  disabled_at timestamptz,
  check (('channel' = any (roles)) = (channel is not null)),
  check (channel is null or (roles = '{channel}' and password_hash is null)),
  check (unit_code is not null or not roles && '{unit,district_dispatcher}')
);
comment on table layers.account is 'People with their roles, and channels (hotline, web, video), which may only report';
comment on column layers.account.id is 'Number of the account';
comment on column layers.account.name is 'What one logs in with; events name it as their actor; never given to another';
comment on column layers.account.display_zh is 'Name shown in Chinese';
comment on column layers.account.display_en is 'Name shown in English';
comment on column layers.account.roles is 'What the person may do, see cases.transition.roles; a channel has the one role channel';
comment on column layers.account.channel is 'For a channel: the source of what it reports (public is the hotline); else null';
comment on column layers.account.unit_code is 'Code of the person''s unit; people of the roles unit and district_dispatcher see its work only';
comment on column layers.account.password_hash is 'Argon2id with salt and parameters; null: no log-in, tokens only';
comment on column layers.account.created_at is 'When it was made, UTC';
comment on column layers.account.disabled_at is 'When it was disabled, UTC: from then on neither password, session nor token is taken';

create table layers.token (
  sha256 bytea primary key check (length(sha256) = 32),
  account_id bigint not null references layers.account,
  kind text not null check (kind in ('token', 'session')),
  made_at timestamptz not null default clock_timestamp(),
  ends_at timestamptz not null
);
comment on table layers.token is 'Tokens of programs and sessions of people, kept as hashes: whoever reads this table cannot use them';
comment on column layers.token.sha256 is 'SHA-256 of 256 random bits that only their holder has';
comment on column layers.token.account_id is 'Whose it is';
comment on column layers.token.kind is 'token: a program''s, sent as Bearer; session: a person''s, sent as signed cookie';
comment on column layers.token.made_at is 'When it was made, UTC';
comment on column layers.token.ends_at is 'From then on it is not taken any more, UTC';
create index token_of_account on layers.token (account_id);
comment on index layers.token_of_account is 'Disabling an account ends its tokens';

create table layers.failed_login (
  name_sha256 bytea primary key,
  failures integer not null,
  next_at timestamptz not null
);
comment on table layers.failed_login is 'Failed log-ins by the name that was typed, known or not, and the client: each makes the next one wait longer';
comment on column layers.failed_login.name_sha256 is 'SHA-256 of the name that was typed and the client''s address';
comment on column layers.failed_login.failures is 'How many in a row';
comment on column layers.failed_login.next_at is 'Before this instant no password for this name is looked at, UTC';

create table layers.secret (
  name text primary key,
  value bytea not null
);
comment on table layers.secret is 'Keys that all server processes of this city share';
comment on column layers.secret.name is 'cookies: signs session cookies';
comment on column layers.secret.value is 'Random bytes';
insert into layers.secret (name, value)
select 'cookies', decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');
