-- Reading one topic in the order of seq, which every index carries as its last column.
create index events_by_topic on events (topic) where gone is null
