alter table topics add column erased integer not null default 0
