-- The schema of a new store. Blank lines separate its statements, and stand nowhere else.
--
-- A row for each version of the schema that the store has had.
create table schema_migrations (version integer primary key, applied_at text not null);

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
    attributes text,                       -- what a CloudEvent says of itself beside the columns: a JSON object, or null
    -- Null while the event can be read. Otherwise the row keeps only its identity, so that a late duplicate stays a
    -- duplicate: 'expired', 'erased', or 'reserved' for the row with which a restore sets the next seq.
    gone text,
    -- The newest payload of at most 16 KiB that was refused for the event, for those who look into a conflict.
    rival text,
    unique (topic, event_id)               -- the promise
);

create index events_by_source on events (source) where source is not null;

-- Reading one topic in the order of seq, which every index carries as its last column.
create index events_by_topic on events (topic) where gone is null;

-- Finds the events of a short span of time, however they are spread over seq.
create index events_by_timestamp on events (timestamp) where gone is null;

-- Identities in the order in which they are forgotten.
create index events_gone on events (received_at) where gone is not null;

-- The events with conflicts, in the order of seq. It costs nothing where there is none.
create index events_by_conflict on events (seq) where conflicts > 0 and gone is null;

create table topics (
    name text primary key,
    unique_processed integer not null,
    duplicate_dropped integer not null,
    conflicts integer not null,
    last_seq integer not null,      -- the newest event of the topic
    last_received_at text not null, -- the latest delivery, duplicates included
    expired integer not null default 0,
    erased integer not null default 0,
    forgotten integer not null default 0
) without rowid;

-- The earliest and the latest timestamp of each run of 512 events: a filter by time passes over the runs without a match.
-- The events behind the last run are in none yet.
create table blocks (
    through integer primary key, -- the last seq of the run, which begins behind the one before it
    earliest text,               -- null if no event of the run can be read
    latest text
);

-- The same of each 128 blocks, which are passed over together.
create table sections (through integer primary key, earliest text, latest text);

-- One row: the state of retention, and what would take long to count.
create table upkeep (
    id integer primary key check (id = 1),
    expired_through integer not null,  -- no event up to this seq can be read
    due_at text not null,              -- when an instance may look again; an instance at work moves it on
    topics integer not null default 0, -- their number: counting takes as long as there are many, and a producer waits
    store_id text                      -- tells this store from others, to a client that keeps its place here
);

insert into upkeep (id, expired_through, due_at, store_id) values (1, 0, '', lower(hex(randomblob(16))));

-- The answers to requests with an Idempotency-Key, kept in the transaction that stores their events.
create table answers (
    key text primary key,
    fingerprint text not null,    -- of the request
    answered_at integer not null, -- seconds since 1970
    outcomes text not null        -- a JSON array of [seq, status] of its events: 0 stored, 1 duplicate, 2 conflict
);

-- The totals once a minute, for a day: a ring of rows, so that nothing is ever removed.
create table history (
    slot integer primary key, -- the minute, modulo a day
    minute integer not null,  -- since 1970
    unique_processed integer not null,
    duplicate_dropped integer not null,
    conflicts integer not null
);

-- Row triggers, so that storing and counting are one statement and no crash can come between them. The row that is
-- left of an expired event is not counted again.
create trigger count_stored after insert on events when new.gone is null begin
    insert into topics (name, unique_processed, duplicate_dropped, conflicts, last_seq, last_received_at)
    values (new.topic, 1, 0, 0, new.seq, new.received_at)
    on conflict (name) do update set
        unique_processed = unique_processed + 1,
        last_seq = excluded.last_seq,
        last_received_at = excluded.last_received_at;
end;

-- The places of consumers. The state is the JSON object of src/consumers/state.rs: a step reads it, and writes it back
-- unless the version has changed meanwhile. With rowids, a page holds all of it; without, the most would lie elsewhere.
create table consumers (
    name text primary key not null,
    version integer not null,
    state text not null
);

-- The events of consumers that failed, and those that wait for one which did. What was done has no row.
create table failures (
    consumer text not null,
    seq integer not null,
    lane text not null,               -- events that wait for each other: those of a topic, all of them, or one alone
    topic text not null,
    event_id text not null,
    dead integer not null,            -- 1 if it comes no more by itself; of the others of a lane, the lowest is next
    attempts integer not null,
    due_at integer not null,          -- milliseconds since 1970, as the others; 0 if it was not tried, or is dead
    reason text not null,
    first_failed_at integer not null, -- 0 if it has only waited
    last_failed_at integer not null,
    primary key (consumer, seq)
) without rowid;

-- The next one of each lane.
create index failures_by_lane on failures (consumer, lane, seq) where dead = 0;

-- A claim tells how many events of its range were erased.
create index events_erased on events (seq) where gone = 'erased';

create trigger forget_failures after delete on consumers begin
    delete from failures where consumer = old.name;
end;

create trigger count_topic after insert on topics begin
    update upkeep set topics = topics + 1;
end;

create trigger count_dropped after update of deliveries on events begin
    update topics set
        duplicate_dropped = duplicate_dropped + new.deliveries - old.deliveries,
        conflicts = conflicts + new.conflicts - old.conflicts,
        last_received_at = new.redelivered_at
    where name = new.topic;
end;

-- An event that is deleted has expired, and leaves its identity in a small row at the same place. Deleting gives the
-- pages of the payloads back, which changing the row in place would not: SQLite joins pages that are a third full, and
-- only when a row leaves them. So the row has to be small, and keeps the day until which it must be known, not the moment.
create trigger keep_identity after delete on events when old.gone is null begin
    insert into events (seq, topic, event_id, timestamp, payload, digest, received_at, commit_id, gone)
    values (old.seq, old.topic, old.event_id, '', '', 0, date(old.received_at, '+1 day'), -1, 'expired');
    update topics set expired = expired + 1 where name = old.topic;
end;

create trigger count_forgotten after delete on events when old.gone is not null begin
    update topics set forgotten = forgotten + 1 where name = old.topic;
end;

create trigger close_block after insert on events when new.gone is null and new.seq & 511 = 0 begin
    insert into blocks (through, earliest, latest)
    select new.seq, min(timestamp), max(timestamp) from events
    where seq > max(coalesce((select max(through) from blocks), 0), (select expired_through from upkeep))
        and seq <= new.seq and gone is null;
end;

create trigger close_section after insert on blocks when new.through & 65535 = 0 begin
    insert into sections (through, earliest, latest)
    select new.through, min(earliest), max(latest) from blocks
    where through > (select coalesce(max(through), 0) from sections) and through <= new.through;
end;

-- Erasing changes a row in place. If the timestamp was a bound of its run, it must not stay there.
create trigger count_erased after update of gone on events when old.gone is null begin
    update topics set erased = erased + 1 where name = old.topic;
    update blocks set (earliest, latest) = (
        select min(timestamp), max(timestamp) from events
        where seq > max(
                coalesce((select max(through) from blocks as earlier where earlier.through < blocks.through), 0),
                (select expired_through from upkeep)
            )
            and seq <= blocks.through and gone is null
    )
    where through = (select min(through) from blocks where through >= old.seq)
        and old.timestamp in (earliest, latest);
end;

-- A bound of a block that was erased must not stay as a bound of its section.
create trigger narrow_section after update on blocks begin
    update sections set (earliest, latest) = (
        select min(earliest), max(latest) from blocks
        where blocks.through <= sections.through and blocks.through > coalesce(
            (select max(through) from sections as earlier where earlier.through < sections.through), 0
        )
    )
    where through = (select min(through) from sections where through >= new.through);
end;
