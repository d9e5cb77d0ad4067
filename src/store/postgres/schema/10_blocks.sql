-- The earliest and the latest timestamp of each run of 512 events: a filter by time passes over the runs without a match.
-- The events behind the last run are in none yet.
create table sekali.blocks (
    through bigint primary key, -- the last seq of the run, which begins behind the one before it
    earliest bigint,            -- null if no event of the run can be read
    latest bigint
)
