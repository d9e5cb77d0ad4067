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
with (fillfactor = 95, autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);

create index identities_erased on sekali.identities (seq) where erased;

-- The events with conflicts. It costs nothing where there is none.
create index identities_by_conflict on sekali.identities (seq) where conflicts is not null;

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
) partition by range (seq);

-- Reading one topic in the order of seq.
create index events_by_topic on sekali.events (topic, seq);

create index events_by_source on sekali.events (source, seq) where source is not null;

-- Finds the events of a short span of time, however they are spread over seq.
create index events_by_timestamp on sekali.events (timestamp);

-- The newest payload of at most 16 KiB that was refused for an event, for those who look into a conflict.
create table sekali.rivals (
    seq bigint primary key,
    payload text not null
);

create table sekali.topics (
    name text collate "C" primary key,
    unique_processed bigint not null,
    duplicate_dropped bigint not null,
    conflicts bigint not null,
    expired bigint not null default 0,
    erased bigint not null default 0,
    forgotten bigint not null default 0,
    last_seq bigint not null,        -- the newest event of the topic
    last_received_at bigint not null -- the latest delivery, duplicates included: microseconds since 1970
)
-- Each write changes the rows of its topics: there is room for their old versions in their page, where the next write
-- tidies them up.
with (fillfactor = 50);

-- The earliest and the latest timestamp of each run of 512 events: a filter by time passes over the runs without a match.
-- The events behind the last run are in none yet.
create table sekali.blocks (
    through bigint primary key, -- the last seq of the run, which begins behind the one before it
    earliest bigint,            -- null if no event of the run can be read
    latest bigint
);

-- The same of each 128 blocks, which are passed over together.
create table sekali.sections (through bigint primary key, earliest bigint, latest bigint);

-- The answers to requests with an Idempotency-Key, kept in the transaction that stores their events.
create table sekali.answers (
    key text collate "C" primary key,
    fingerprint text not null,        -- of the request
    answered_at timestamptz not null,
    outcomes text not null            -- a JSON array of [seq, status] of its events: 0 stored, 1 duplicate, 2 conflict
);

create index answers_by_age on sekali.answers (answered_at);

-- The totals once a minute, for a day: a ring of rows, so that nothing is ever removed.
create table sekali.history (
    slot bigint primary key, -- the minute, modulo a day
    minute bigint not null,  -- since 1970
    unique_processed bigint not null,
    duplicate_dropped bigint not null,
    conflicts bigint not null
);

-- The places of consumers. The state is the JSON object of src/consumers/state.rs: a step reads it, and writes it back
-- unless the version has changed meanwhile.
create table sekali.consumers (
    name text collate "C" primary key,
    version bigint not null,
    state text not null
)
-- Each step changes a row: there is room for its old versions in its page, where the next one tidies them up.
with (fillfactor = 50);

-- The events of consumers that failed, and those that wait for one which did. What was done has no row.
create table sekali.failures (
    consumer text collate "C" not null references sekali.consumers on delete cascade,
    seq bigint not null,
    lane text collate "C" not null,  -- events that wait for each other: those of a topic, all of them, or one alone
    topic text collate "C" not null,
    event_id text collate "C" not null,
    dead bigint not null,            -- 1 if it comes no more by itself; of the others of a lane, the lowest is next
    attempts bigint not null,
    due_at bigint not null,          -- milliseconds since 1970, as the others; 0 if it was not tried, or is dead
    reason text not null,
    first_failed_at bigint not null, -- 0 if it has only waited
    last_failed_at bigint not null,
    primary key (consumer, seq)
);

-- The next one of each lane.
create index failures_by_lane on sekali.failures (consumer, lane, seq) where dead = 0;

-- One row: the state of retention, and what would take long to count.
create table sekali.upkeep (
    id bigint primary key check (id = 1),
    expired_through bigint not null,   -- no event up to this seq can be read
    due_at timestamptz not null,       -- when an instance may look again; an instance at work moves it on
    room_from bigint not null,         -- the run of seq for which there are partitions of events
    room_through bigint not null,
    room_retry bigint not null,        -- the seq before which a partition ahead is not tried again
    swept_through bigint not null,     -- no row of an expired event is left up to this seq
    sweep_through bigint not null,     -- those up to this one are being removed: see sweep()
    sweep_next bigint not null,
    sweep_at timestamptz not null,
    forgotten_through bigint not null, -- no identity of an expired event is left up to this seq
    topics bigint not null,            -- the number of topics
    -- Tells this store from others: a client that keeps its place here asks whether it is still the same.
    store_id text not null default replace(gen_random_uuid()::text, '-', '')
);

insert into sekali.upkeep values (1, 0, '-infinity', 0, -1, 0, 0, 0, 0, now(), 0, 0);
