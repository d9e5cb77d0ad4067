-- From the schema of 0.2 to that of schema.sql, which says what the tables are for. Blank lines separate the statements.
alter table events add column rival text;

create index events_by_conflict on events (seq) where conflicts > 0 and gone is null;

alter table upkeep add column topics integer not null default 0;

update upkeep set topics = (select count(*) from topics);

create trigger count_topic after insert on topics begin
    update upkeep set topics = topics + 1;
end;

alter table upkeep add column store_id text;

update upkeep set store_id = lower(hex(randomblob(16)));

create table answers (
    key text primary key,
    fingerprint text not null,
    answered_at integer not null,
    outcomes text not null
);

create table history (
    slot integer primary key,
    minute integer not null,
    unique_processed integer not null,
    duplicate_dropped integer not null,
    conflicts integer not null
);

create table consumers (
    name text primary key not null,
    version integer not null,
    state text not null
);

create table failures (
    consumer text not null,
    seq integer not null,
    lane text not null,
    topic text not null,
    event_id text not null,
    dead integer not null,
    attempts integer not null,
    due_at integer not null,
    reason text not null,
    first_failed_at integer not null,
    last_failed_at integer not null,
    primary key (consumer, seq)
) without rowid;

create index failures_by_lane on failures (consumer, lane, seq) where dead = 0;

create index events_erased on events (seq) where gone = 'erased';

create trigger forget_failures after delete on consumers begin
    delete from failures where consumer = old.name;
end;
