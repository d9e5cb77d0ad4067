-- One row: the state of retention, and of the database.
create table sekali.upkeep (
    id bigint primary key check (id = 1),
    expired_through bigint not null,  -- no event up to this seq can be read
    due_at text collate "C" not null, -- when an instance may look again; an instance at work moves it on
    room_from bigint not null,        -- the run of seq for which there are partitions of events
    room_through bigint not null,
    cluster text,                     -- where this database is, and the timeline of the server's log at the last
    timeline text                     -- write: reserve() says why. Null where a service does not show them.
)
