-- Finds the events of a short span of time, however they are spread over seq.
create index events_by_timestamp on sekali.events (timestamp)
