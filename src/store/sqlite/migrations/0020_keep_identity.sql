-- An event that is deleted has expired, and leaves its identity in a small row at the same place. Deleting gives the
-- pages of the payloads back, which changing the row in place would not: the rows around it stay where they are.
create trigger keep_identity after delete on events when old.gone is null begin
    insert into events (seq, topic, event_id, timestamp, payload, digest, received_at, commit_id, gone)
    values (old.seq, old.topic, old.event_id, '', '', 0, old.received_at, -1, 'expired');
    update topics set expired = expired + 1 where name = old.topic;
end
