-- Lets the events up to a seq expire: nobody can read them any more. True if that leaves partitions to be dropped.
create function sekali.expire(last bigint) returns boolean language plpgsql
set plan_cache_mode = force_custom_plan -- of the partitions, only those of the seqs are looked at
set lock_timeout = '4s'
as $$
declare
    expired_before bigint;
begin
    perform pg_advisory_xact_lock(126879430437993);
    select expired_through into expired_before from sekali.upkeep;
    update sekali.topics as account set expired = account.expired + gone.count
    from (
        select topic, count(*) from sekali.events where seq > expired_before and seq <= last group by topic
    ) as gone
    where account.name = gone.topic;
    delete from sekali.blocks where through <= last;
    delete from sekali.sections where through <= last;
    -- Never back: an instance that lost its lease may come late.
    update sekali.upkeep set expired_through = greatest(expired_through, last);
    return exists (select from sekali.partitions where ((number + 1) << 20) - 1 <= last);
end
$$
