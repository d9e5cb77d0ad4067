-- Erases events, and returns how many could be read before. Their identities stay.
create function sekali.erase(seqs bigint[]) returns bigint language plpgsql
set lock_timeout = '4s'
as $$
declare
    erased_now bigint;
begin
    perform pg_advisory_xact_lock(126879430437993);
    with removed as (
        delete from sekali.events
        where seq = any(seqs) and seq > (select expired_through from sekali.upkeep) returning seq, topic
    ),
    marked as (
        update sekali.identities set erased = true where seq in (select seq from removed)
    ),
    accounts as (
        update sekali.topics as account set erased = account.erased + gone.count
        from (select topic, count(*) from removed group by topic) as gone where account.name = gone.topic
    )
    select count(*) into erased_now from removed;
    -- A timestamp that was a bound of its block must not stay there, nor in its section.
    update sekali.blocks as block set (earliest, latest) = (
        with event as materialized (
            select timestamp from sekali.events
            where seq > greatest(
                    coalesce((select max(through) from sekali.blocks as earlier where earlier.through < block.through), 0),
                    (select expired_through from sekali.upkeep)
                )
                and seq <= block.through
        )
        select min(timestamp), max(timestamp) from event
    )
    where through in (
        select (select min(through) from sekali.blocks where through >= seq) from unnest(seqs) as erased (seq)
    );
    update sekali.sections as section set (earliest, latest) = (
        select min(earliest), max(latest) from sekali.blocks
        where through <= section.through and through > coalesce(
            (select max(through) from sekali.sections as earlier where earlier.through < section.through), 0
        )
    )
    where through in (
        select (select min(through) from sekali.sections where through >= seq) from unnest(seqs) as erased (seq)
    );
    return erased_now;
end
$$
