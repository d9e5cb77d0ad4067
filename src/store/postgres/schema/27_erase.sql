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
$$
