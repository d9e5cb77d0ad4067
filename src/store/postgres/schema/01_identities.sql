-- What must be known of an event for as long as its duplicates may come: this outlives the event itself. Both are apart
-- because events are partitioned, and PostgreSQL keeps no promise of uniqueness across partitions but by their key. All
-- that a duplicate needs is here, so that it looks at no partition.
create table sekali.identities (
    seq bigint primary key,           -- the order of storage, and of commit: take_turn() says why
    digest bigint not null default 0, -- 64-bit hash of the payload as a JSON value: tells conflicts
    received_on date not null,        -- counts for forgetting it
    deliveries integer,               -- how often it came, the first time included; null for once, which takes no space
    conflicts integer,                -- how often it came with another payload; null for never
    erased boolean,                   -- true if the event was erased on demand, or never was: its seq is reserved
    topic text collate "C" not null,  -- "C": compared by bytes, as everything that is ordered here
    event_id text collate "C" not null,
    unique (topic, event_id)          -- the promise
)
-- New rows end the table: its statistics age fast. Duplicates change a row, in its page if there is room.
with (fillfactor = 95, autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05)
