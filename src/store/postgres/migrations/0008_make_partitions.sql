-- Makes the partitions of a run of seq that are not there. They are made apart and then attached, which waits for no
-- reader and makes none wait.
create function sekali.make_partitions(first_seq bigint, last_seq bigint) returns void language plpgsql as $$
declare
    missing bigint;
begin
    for missing in
        select number from generate_series(first_seq >> 20, last_seq >> 20) as number
        except select number from sekali.partitions order by 1
    loop
        -- Duplicates change a row, in its page if there is room.
        execute format(
            'create table sekali.events_%s (like sekali.events including all) with (
                fillfactor = 90, autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05
            )',
            missing
        );
        execute format(
            'alter table sekali.events attach partition sekali.events_%s for values from (%s) to (%s)',
            missing, missing << 20, (missing + 1) << 20
        );
        insert into sekali.partitions (number) values (missing);
    end loop;
    update sekali.upkeep set room_from = first_seq, room_through = (((last_seq >> 20) + 1) << 20) - 1;
end
$$
