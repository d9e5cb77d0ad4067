-- Finds the run of seq that a span of time lies in: readers go by seq.
create index events_by_timestamp on events (timestamp)
