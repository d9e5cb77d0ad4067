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
)
