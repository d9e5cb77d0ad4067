-- Row triggers, so that storing and counting are one statement and no crash can come between them. The row that is
-- left of an expired event is not counted again.
create trigger count_stored after insert on events when new.gone is null begin
    insert into topics (name, unique_processed, duplicate_dropped, conflicts, last_seq, last_received_at)
    values (new.topic, 1, 0, 0, new.seq, new.received_at)
    on conflict (name) do update set
        unique_processed = unique_processed + 1,
        last_seq = excluded.last_seq,
        last_received_at = excluded.last_received_at;
end
