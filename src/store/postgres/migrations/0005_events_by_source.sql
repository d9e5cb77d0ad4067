create index events_by_source on sekali.events (source, seq)
