-- Erases events: 204 means that they are gone, also those that had expired and whose rows were still there. Their
-- identities stay.
create function sekali.erase(seqs bigint[]) returns void language plpgsql
set plan_cache_mode = force_custom_plan -- of the partitions, only those of the seqs are looked at
set lock_timeout = '1s'
as $$
declare
    expired bigint;
    removed_seqs bigint[];
    removed_timestamps bigint[];
    block record;
begin
    perform sekali.take_turn();
    delete from sekali.rivals where seq = any(seqs);
    select expired_through into expired from sekali.upkeep;
    with removed as (
        delete from sekali.events where seq = any(seqs) returning seq, topic, timestamp
    ),
    readable as (select * from removed where seq > expired),
    marked as (
        update sekali.identities set erased = true, digest = 0 where seq in (select seq from readable)
    ),
    accounts as (
        update sekali.topics as account set erased = account.erased + gone.count
        from (select topic, count(*) from readable group by topic) as gone where account.name = gone.topic
    )
    select array_agg(seq), array_agg(timestamp) into removed_seqs, removed_timestamps from readable;
    -- A timestamp that was a bound of its block must not stay there, nor in its section.
    for block in
        select distinct of_seq.through, of_seq.opened
        from unnest(removed_seqs, removed_timestamps) as removed (seq, timestamp)
        cross join lateral (
            select through, earliest, latest, coalesce(
                (select max(through) from sekali.blocks as earlier where earlier.through < blocks.through), 0
            ) as opened
            from sekali.blocks where through >= removed.seq order by through limit 1
        ) as of_seq
        where removed.timestamp in (of_seq.earliest, of_seq.latest)
    loop
        update sekali.blocks set (earliest, latest) = (
            with event as materialized (
                select timestamp from sekali.events
                where seq > greatest(block.opened, expired) and seq <= block.through
            )
            select min(timestamp), max(timestamp) from event
        )
        where through = block.through;
        update sekali.sections as section set (earliest, latest) = (
            select min(earliest), max(latest) from sekali.blocks
            where through <= section.through and through > coalesce(
                (select max(through) from sekali.sections as earlier where earlier.through < section.through), 0
            )
        )
        where through = (select min(through) from sekali.sections where through >= block.through);
    end loop;
end
$$;

-- Erases one event; false if its identity is not known.
create function sekali.erase_event(topic_given text, id_given text) returns boolean language plpgsql as $$
declare
    known bigint;
begin
    perform sekali.take_turn();
    select seq into known from sekali.identities where topic = topic_given and event_id = id_given;
    if known is null then
        return false;
    end if;
    perform sekali.erase(array[known]);
    return true;
end
$$;

-- Lets the oldest events expire that are not to be kept, of the next `most`: nobody can read them any more. What is to be
-- kept is looked up here, so that nothing goes twice whoever believes to be at work.
create function sekali.expire(
    kept bigint,           -- newest events that are kept; 0 for all
    days bigint,           -- days for which an event is kept; 0 for ever
    most bigint,
    out expired_now bigint,
    out has_more boolean,  -- true if more are due
    out leaves boolean     -- true if partitions are to be dropped
)
language plpgsql
set plan_cache_mode = force_custom_plan -- of the partitions, only those of the seqs are looked at
set enable_seqscan = off
set jit = off
set lock_timeout = '1s'
as $$
declare
    expired bigint;
    considered bigint;
    upto bigint;
    surplus bigint;
    last bigint;
begin
    perform sekali.take_turn();
    select expired_through into expired from sekali.upkeep;
    last := expired;
    select count(*), coalesce(max(seq), expired) into considered, upto
    from (select seq from sekali.identities where seq > expired order by seq limit most) as next;
    if kept > 0 then
        select coalesce(sum(topics.unique_processed - topics.expired - topics.erased), 0) - kept into surplus
        from sekali.topics;
        if surplus > 0 then
            select coalesce(max(seq), upto) into last from (
                select seq from sekali.events where seq > expired and seq <= upto order by seq offset surplus - 1 limit 1
            ) as last_surplus;
        end if;
    end if;
    if days > 0 then
        select greatest(last, coalesce(min(seq) - 1, upto)) into last from sekali.events
        where seq > expired and seq <= upto
            and received_at >= floor(extract(epoch from clock_timestamp() - days * interval '1 day') * 1000000)::bigint;
    end if;
    expired_now := 0;
    has_more := last = upto and considered = most;
    leaves := false;
    if last > expired then
        with gone as materialized (
            select topic, count(*) from sekali.events where seq > expired and seq <= last group by topic
        ),
        accounts as (
            update sekali.topics as account set expired = account.expired + gone.count
            from gone where account.name = gone.topic
        )
        select coalesce(sum(count), 0) into expired_now from gone;
        delete from sekali.blocks where through <= last;
        delete from sekali.sections where through <= last;
        update sekali.upkeep set expired_through = last;
        leaves := exists (select from sekali.partitions where (number + 1) * sekali.partition_size() - 1 <= last);
    end if;
end
$$;

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
$$;

-- Removes the rows of some events that have expired, from a partition that still lives. Most partitions are dropped as a
-- whole soon after their first events have expired, so it begins with those that expired twenty minutes ago.
create function sekali.sweep(most bigint, out swept_now bigint, out has_more boolean) language plpgsql
set plan_cache_mode = force_custom_plan -- of the partitions, only those of the seqs are looked at
set lock_timeout = '1s'
as $$
declare
    state record;
    upto bigint;
begin
    select * into state from sekali.upkeep for update;
    swept_now := 0;
    if state.swept_through >= state.sweep_through and state.sweep_at <= clock_timestamp() - interval '20 minutes' then
        update sekali.upkeep
        set sweep_through = sweep_next, sweep_next = expired_through, sweep_at = clock_timestamp()
        returning * into state;
    end if;
    has_more := state.swept_through < state.sweep_through;
    if not has_more then
        return;
    end if;
    select coalesce(max(seq), state.sweep_through) into upto from (
        select seq from sekali.identities
        where seq > state.swept_through and seq <= state.sweep_through order by seq limit most
    ) as next;
    delete from sekali.rivals where seq <= upto;
    delete from sekali.events where seq > state.swept_through and seq <= upto;
    get diagnostics swept_now = row_count;
    update sekali.upkeep set swept_through = upto;
    has_more := upto < state.sweep_through;
end
$$;

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
$$;
