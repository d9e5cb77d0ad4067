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
$$
