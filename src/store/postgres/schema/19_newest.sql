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
$$
