-- The totals once a minute, for a day: a ring of rows, so that nothing is ever removed.
create table sekali.history (
    slot bigint primary key, -- the minute, modulo a day
    minute bigint not null,  -- since 1970
    unique_processed bigint not null,
    duplicate_dropped bigint not null,
    conflicts bigint not null
)
