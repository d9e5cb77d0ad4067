-- The totals once a minute, for a day: a ring of rows, so that nothing is ever removed.
create table history (
    slot integer primary key, -- the minute, modulo a day
    minute integer not null,  -- since 1970
    unique_processed integer not null,
    duplicate_dropped integer not null,
    conflicts integer not null
)
