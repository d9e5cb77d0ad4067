create trigger count_dropped after update of deliveries on events begin
    update topics set
        duplicate_dropped = duplicate_dropped + new.deliveries - old.deliveries,
        conflicts = conflicts + new.conflicts - old.conflicts,
        last_received_at = new.redelivered_at
    where name = new.topic;
end
