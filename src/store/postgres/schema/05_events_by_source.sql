create index events_by_source on sekali.events (source, seq) where source is not null
