alter table topics add column expired integer not null default 0
