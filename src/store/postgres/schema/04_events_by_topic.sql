-- Reading one topic in the order of seq.
create index events_by_topic on sekali.events (topic, seq)
