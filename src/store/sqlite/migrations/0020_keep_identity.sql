-- An event that is deleted has expired, and leaves its identity in a small row at the same place. Deleting gives the
-- pages of the payloads back, which changing the row in place would not: SQLite joins pages that are a third full, and
-- only when a row leaves them. So the row has to be small, and keeps the day until which it must be known, not the moment.
create trigger keep_identity after delete on events when old.gone is null begin
    insert into events (seq, topic, event_id, timestamp, payload, digest, received_at, commit_id, gone)
    values (old.seq, old.topic, old.event_id, '', '', 0, date(old.received_at, '+1 day'), -1, 'expired');
    update topics set expired = expired + 1 where name = old.topic;
end
