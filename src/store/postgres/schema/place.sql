-- Writers take turns, each until what it wrote is committed and visible. So seq is a commit order: no reader ever sees a
-- seq before a lower one. A sequence does not have this property. It also means that no two of them deadlock.
create function sekali.take_turn() returns void language plpgsql as $$
begin
    if pg_is_in_recovery() then
        raise exception 'the server is a replica' using errcode = 'read_only_sql_transaction';
    end if;
    perform pg_advisory_xact_lock(126879430437993);
end
$$;

-- One row, written by place_here() alone: where this database is. A copy of it elsewhere differs in one of these, whether
-- it was made of files, by replication or from a dump.
create table sekali.place (
    id bigint primary key check (id = 1),
    written_by text not null,        -- the transaction that wrote the row, which a row from a dump has not
    started_at timestamptz not null, -- the start of the server, which no other server shares
    database oid not null            -- a copy beside it has another, whatever it is renamed to
);

create function sekali.place_here() returns void language sql as $$
    delete from sekali.place;
    insert into sekali.place
    select 1, pg_current_xact_id()::xid::text, pg_postmaster_start_time(), oid
    from pg_database where datname = current_database();
$$;

-- True in a copy, and after a start of the server: nobody can tell that from the start of a copy which lacks the newest
-- events.
create function sekali.has_moved() returns boolean language sql stable as $$
    select
        place.written_by <> place.xmin::text or place.started_at <> pg_postmaster_start_time()
        or place.database <> pg_database.oid
    from sekali.place, pg_database where datname = current_database()
$$;

-- Reserves the next 2^32 seqs, and returns the last of them. Called when the database may have lost its newest events,
-- by a restore or a failover: new events must not get the seqs of the lost ones, which readers have passed.
create function sekali.reserve() returns bigint language plpgsql as $$
declare
    last bigint;
begin
    perform sekali.take_turn();
    select coalesce(max(seq), 0) + 4294967296 into last from sekali.identities;
    insert into sekali.identities (seq, topic, event_id, received_on, erased)
    values (last, '', last, (clock_timestamp() at time zone 'utc')::date, true);
    perform sekali.place_here();
    update sekali.upkeep set due_at = '-infinity';
    return last;
end
$$;

-- The newest seq that was given or reserved. After a failover it reserves first: a cursor that was valid before must not
-- be refused. It fails on a replica, which may not know.
create function sekali.newest() returns bigint language plpgsql
set lock_timeout = '1s'
as $$
begin
    if pg_is_in_recovery() then
        raise exception 'the server is a replica' using errcode = 'read_only_sql_transaction';
    end if;
    if sekali.has_moved() then
        perform sekali.take_turn();
        -- Another may have come first.
        if sekali.has_moved() then
            return sekali.reserve();
        end if;
    end if;
    return coalesce((select max(seq) from sekali.identities), 0);
end
$$;

select sekali.place_here();
