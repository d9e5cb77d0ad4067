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
with (fillfactor = 50)
