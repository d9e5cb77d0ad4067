-- One row: the state of retention.
create table upkeep (
    id integer primary key check (id = 1),
    expired_through integer not null, -- no event up to this seq can be read
    due_at text not null              -- when an instance may look again; an instance at work moves it on
)
