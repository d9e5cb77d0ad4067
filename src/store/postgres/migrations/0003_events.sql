-- Partitioned, so that retention drops a million events at once: to empty their rows one by one takes longer than
-- to store them, and leaves the work of a vacuum.
create table sekali.events (
    seq bigint primary key,
    topic text collate "C" not null,
    event_id text collate "C" not null,
    timestamp text collate "C" not null,   -- UTC without the 'Z', to the nanosecond, which timestamptz has not
    source text collate "C",               -- the inside of a JSON string, which can have U+0000, as text cannot
    payload text not null,                 -- JSON as it was sent, without white space: jsonb would change numbers
    attributes text,                       -- what a CloudEvent says of itself beside the columns: a JSON object
    digest bigint not null,                -- 64-bit hash of the payload as a JSON value: tells conflicts
    deliveries bigint not null default 1,  -- how often it came, the first time included
    conflicts bigint not null default 0,   -- how often it came with another payload
    received_at text collate "C" not null, -- when the delivery came that was stored
    redelivered_at text collate "C"        -- when the latest duplicate came
) partition by range (seq)
