-- Forgets the oldest identities whose events are gone and were received before a day, and returns how many. Those of
-- expired events are the first of all, in the order of time; those of erased ones may stand anywhere. The newest
-- identity stays: it tells the next seq.
create function sekali.forget(before date, most bigint) returns bigint language plpgsql
set lock_timeout = '4s'
as $$
declare
    forgotten_now bigint;
begin
    perform pg_advisory_xact_lock(126879430437993);
    with bound as materialized (
        select expired_through, (select max(seq) from sekali.identities) as newest from sekali.upkeep
    ),
    candidate as materialized (
        (
            select seq, received_on from sekali.identities
            where seq <= (select expired_through from bound) order by seq limit most
        )
        union all
        (
            select seq, received_on from sekali.identities
            where erased and seq > (select expired_through from bound) order by seq limit most
        )
    ),
    old as (
        delete from sekali.identities where seq in (
            select seq from candidate where received_on < before and seq < (select newest from bound)
            order by seq limit most
        )
        returning topic
    ),
    accounts as (
        update sekali.topics as account set forgotten = account.forgotten + gone.count
        from (select topic, count(*) from old group by topic) as gone where account.name = gone.topic
    )
    select count(*) into forgotten_now from old;
    return forgotten_now;
end
$$
