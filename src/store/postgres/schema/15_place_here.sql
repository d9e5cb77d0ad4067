create function sekali.place_here() returns void language sql as $$
    delete from sekali.place;
    insert into sekali.place
    select 1, pg_current_xact_id()::xid::text, pg_postmaster_start_time(), oid
    from pg_database where datname = current_database();
$$
