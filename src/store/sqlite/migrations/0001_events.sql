create table events (
    seq integer primary key,               -- the order of storage
    topic text not null,
    event_id text not null,
    timestamp text not null,               -- UTC without the 'Z', so that text order is time order
    source text,
    payload text not null,                 -- JSON without white space between tokens
    digest integer not null,               -- 64-bit hash of the payload as a JSON value: tells conflicts
    deliveries integer not null default 1, -- how often it came, the first time included
    conflicts integer not null default 0,  -- how often it came with another payload
    received_at text not null,             -- when the delivery came that was stored
    redelivered_at text,                   -- when the latest duplicate came
    commit_id integer not null,            -- the write's random number plus the event's place in it: tells what a write stored
    unique (topic, event_id)               -- the promise
)
