-- The newest payload of at most 16 KiB that was refused for an event, for those who look into a conflict.
create table sekali.rivals (
    seq bigint primary key,
    payload text not null
)
