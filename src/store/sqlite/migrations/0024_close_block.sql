create trigger close_block after insert on events when new.gone is null and new.seq & 511 = 0 begin
    insert into blocks (through, earliest, latest)
    select new.seq, min(timestamp), max(timestamp) from events
    where seq > max(coalesce((select max(through) from blocks), 0), (select expired_through from upkeep))
        and seq <= new.seq and gone is null;
end
