-- Partitioned, so that retention drops a million events at once: to empty their rows one by one takes longer than
-- to store them, and leaves the work of a vacuum. A row never changes.
create table sekali.events (
    seq bigint primary key,
    timestamp bigint not null,       -- microseconds since 1970, UTC
    received_at bigint not null,     -- the same, by the database's clock
    nanos integer,                   -- what the timestamp has beyond microseconds; from 1000 on, a leap second: moment()
    topic text collate "C" not null,
    source text collate "C",         -- the inside of a JSON string, which can have U+0000, as text cannot
    payload text not null,           -- JSON as it was sent, without white space: jsonb would change numbers
    attributes text                  -- what a CloudEvent says of itself beside the columns: a JSON object
) partition by range (seq)
