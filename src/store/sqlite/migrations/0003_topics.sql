create table topics (
    name text primary key,
    unique_processed integer not null,
    duplicate_dropped integer not null,
    conflicts integer not null,
    last_seq integer not null,      -- the newest event of the topic
    last_received_at text not null  -- the latest delivery, duplicates included
) without rowid
