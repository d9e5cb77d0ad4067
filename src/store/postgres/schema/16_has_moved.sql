-- True in a copy, and after a start of the server: nobody can tell that from the start of a copy which lacks the newest
-- events.
create function sekali.has_moved() returns boolean language sql stable as $$
    select written_by <> xmin::text or started_at <> pg_postmaster_start_time() or database <> current_database()
    from sekali.place
$$
