-- The timeline of the server's log, which a failover or a restore to a point in time changes: the first eight digits of
-- the name of its present file. Null where a service does not show it.
create function sekali.timeline() returns text language plpgsql as $$
begin
    return left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
exception
    when others then return null;
end
$$
