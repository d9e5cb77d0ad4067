-- Drops the partitions whose events have all expired. It waits a tenth of a second for their readers, during which new
-- readers and writers wait for it; false if that was too short.
create function sekali.drop_expired() returns boolean language plpgsql
set lock_timeout = '100ms'
as $$
declare
    expired bigint;
begin
    for expired in
        select number from sekali.partitions
        where (number + 1) * sekali.partition_size() - 1 <= (select expired_through from sekali.upkeep) order by number
    loop
        execute format('drop table sekali.events_%s', expired);
        delete from sekali.partitions where number = expired;
    end loop;
    return true;
exception
    when lock_not_available then return false;
end
$$
