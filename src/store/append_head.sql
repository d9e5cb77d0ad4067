-- The duplicate check is the insert itself. Rows of nulls only fill the statement up to a size whose text is known.
insert into events (commit_id, topic, event_id, timestamp, source, payload, digest, received_at)
select * from (values 
