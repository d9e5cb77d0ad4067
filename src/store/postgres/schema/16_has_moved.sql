-- True in a copy, and after a start of the server: nobody can tell that from the start of a copy which lacks the newest
-- events.
create function sekali.has_moved() returns boolean language sql stable as $$
    select
        place.written_by <> place.xmin::text or place.started_at <> pg_postmaster_start_time()
        or place.database <> pg_database.oid
    from sekali.place, pg_database where datname = current_database()
$$
