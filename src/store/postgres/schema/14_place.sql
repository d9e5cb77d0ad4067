-- One row, written by place_here() alone: where this database is. A copy of it elsewhere differs in one of these, whether
-- it was made of files, by replication or from a dump.
create table sekali.place (
    id bigint primary key check (id = 1),
    written_by text not null,        -- the transaction that wrote the row, which a row from a dump has not
    started_at timestamptz not null, -- the start of the server, which no other server shares
    database oid not null            -- a copy beside it has another, whatever it is renamed to
)
