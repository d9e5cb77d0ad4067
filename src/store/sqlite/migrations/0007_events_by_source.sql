create index events_by_source on events (source) where source is not null
