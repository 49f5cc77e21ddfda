-- A rule that was to begin later and was replaced before it began never held: it is kept apart from those that did.
create table cases.rule_withdrawn (
  rule_id bigint primary key,
  code text not null,
  since timestamptz not null,
  facts jsonb not null,
  change_id bigint not null references gis.change,
  withdrawn_change_id bigint not null references gis.change
);
comment on table cases.rule_withdrawn is 'Versions of rules that were withdrawn before they began to hold';
comment on column cases.rule_withdrawn.rule_id is 'Number that the version had';
comment on column cases.rule_withdrawn.code is 'Code of the rule';
comment on column cases.rule_withdrawn.since is 'When it was to begin, UTC';
comment on column cases.rule_withdrawn.facts is 'What it was to say: the columns of cases.rule, and its roles in order';
comment on column cases.rule_withdrawn.change_id is 'The change that made it';
comment on column cases.rule_withdrawn.withdrawn_change_id is 'The change that withdrew it';
