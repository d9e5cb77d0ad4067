-- The partitions of events: number n has the seqs from n * partition_size() on, up to the next.
create table sekali.partitions (number bigint primary key);

-- A function, so that it is a constant to the planner, and that an experiment can have many small ones.
create function sekali.partition_size() returns bigint language sql immutable as 'select 1048576::bigint';

-- Makes the partitions of a run of seq that are not there. They are made apart and then attached, which waits for no
-- reader and makes none wait.
create function sekali.make_partitions(first_seq bigint, last_seq bigint) returns void language plpgsql as $$
declare
    size bigint := sekali.partition_size();
    missing bigint;
begin
    for missing in
        select number from generate_series(first_seq / size, last_seq / size) as number
        except select number from sekali.partitions order by 1
    loop
        execute format(
            'create table sekali.events_%s (like sekali.events including all) with (
                autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05
            )',
            missing
        );
        execute format(
            'alter table sekali.events attach partition sekali.events_%s for values from (%s) to (%s)',
            missing, missing * size, (missing + 1) * size
        );
        insert into sekali.partitions (number) values (missing);
    end loop;
    update sekali.upkeep set room_from = first_seq, room_through = (last_seq / size + 1) * size - 1, room_retry = 0;
end
$$;

-- The same ahead of need, and without waiting: an ANALYZE of the events, say, keeps a partition from being attached. Then
-- it is tried again a while later.
create function sekali.make_room(first_seq bigint, last_seq bigint) returns void language plpgsql
set lock_timeout = '50ms'
as $$
begin
    perform sekali.make_partitions(first_seq, last_seq);
exception
    when lock_not_available then
        update sekali.upkeep set room_retry = first_seq + sekali.partition_size() / 128;
end
$$;
