-- Forgets the oldest identities whose events are gone and were received so many days ago, and returns how many. Those of
-- expired events are the first of all, in the order of time, and what was forgotten before is passed over; those of
-- erased ones may stand anywhere. The newest identity stays: it tells the next seq.
create function sekali.forget(days bigint, most bigint) returns bigint language plpgsql
set lock_timeout = '1s'
as $$
declare
    forgotten_now bigint;
    before date := (clock_timestamp() at time zone 'utc')::date - days::integer;
begin
    perform sekali.take_turn();
    with bound as materialized (
        select expired_through, forgotten_through, (select max(seq) from sekali.identities) as newest
        from sekali.upkeep
    ),
    candidate as materialized (
        (
            select seq, received_on from sekali.identities
            where seq > (select forgotten_through from bound) and seq <= (select expired_through from bound)
            order by seq limit most
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
        returning seq, topic
    ),
    accounts as (
        update sekali.topics as account set forgotten = account.forgotten + gone.count
        from (select topic, count(*) from old group by topic) as gone where account.name = gone.topic
    ),
    passed as (
        update sekali.upkeep set forgotten_through = greatest(forgotten_through, (
            select max(seq) from old where seq <= upkeep.expired_through
        ))
        where exists (select from old)
    )
    select count(*) into forgotten_now from old;
    return forgotten_now;
end
$$
