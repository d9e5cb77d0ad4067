-- Closes the blocks and sections that end with one of some new seqs.
create function sekali.close_blocks(after_seq bigint, last_seq bigint) returns void language plpgsql
set plan_cache_mode = force_custom_plan -- of the partitions, only those of the seqs are looked at
as $$
declare
    closing bigint := (after_seq / 512 + 1) * 512;
    opened bigint;
begin
    while closing <= last_seq loop
        -- Behind the block before it, which is far away if seqs were reserved.
        select coalesce(max(through), 0) into opened from sekali.blocks;
        -- Materialized: else each bound is looked for from the end of the index on timestamps.
        with event as materialized (select timestamp from sekali.events where seq > opened and seq <= closing)
        insert into sekali.blocks (through, earliest, latest) select closing, min(timestamp), max(timestamp) from event;
        if closing % 65536 = 0 then
            insert into sekali.sections (through, earliest, latest)
            select closing, min(earliest), max(latest) from sekali.blocks
            where through > coalesce((select max(through) from sekali.sections), 0) and through <= closing;
        end if;
        closing := closing + 512;
    end loop;
end
$$
