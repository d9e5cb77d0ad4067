-- Writers take turns, each until what it wrote is committed and visible. So seq is a commit order: no reader ever sees a
-- seq before a lower one. A sequence does not have this property. It also means that no two of them deadlock.
create function sekali.take_turn() returns void language plpgsql as $$
begin
    if pg_is_in_recovery() then
        raise exception 'the server is a replica' using errcode = 'read_only_sql_transaction';
    end if;
    perform pg_advisory_xact_lock(126879430437993);
end
$$
