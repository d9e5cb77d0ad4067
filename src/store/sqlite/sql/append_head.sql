-- The insert itself is the duplicate check. Rows of nulls pad the statement to one of a few sizes.
-- ?2 is the time of receipt.
insert into events (commit_id, topic, event_id, timestamp, source, payload, digest, attributes, received_at)
select column1, column2, column3, coalesce(column4, ?2), column5, column6, column7, column8, ?2 from (values 
