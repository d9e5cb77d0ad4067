-- What must be known of an event for as long as its duplicates may come: this outlives the event itself. Both are apart
-- because events are partitioned, and PostgreSQL keeps no promise of uniqueness across partitions but by their key.
create table sekali.identities (
    seq bigint primary key,                -- the order of storage, and of commit: append() says why
    topic text collate "C" not null,       -- "C": compared by bytes, as everything that is ordered here
    event_id text collate "C" not null,
    received_on date not null,             -- counts for forgetting it
    erased boolean not null default false, -- true if the event was erased on demand; it may also have expired
    unique (topic, event_id)               -- the promise
)
-- New rows end the table: its statistics age fast.
with (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05)
