-- The newest payload of at most 16 KiB that was refused for the event, for those who look into a conflict.
alter table events add column rival text
