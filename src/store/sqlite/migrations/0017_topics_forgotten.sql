alter table topics add column forgotten integer not null default 0
