-- Erasing changes a row in place. If the timestamp was a bound of its run, it must not stay there.
create trigger count_erased after update of gone on events when old.gone is null begin
    update topics set erased = erased + 1 where name = old.topic;
    update blocks set (earliest, latest) = (
        select min(timestamp), max(timestamp) from events
        where seq > max(
                coalesce((select max(through) from blocks as earlier where earlier.through < blocks.through), 0),
                (select expired_through from upkeep)
            )
            and seq <= blocks.through and gone is null
    )
    where through = (select min(through) from blocks where through >= old.seq)
        and old.timestamp in (earliest, latest);
end
