) where column2 is not null
on conflict (topic, event_id) do update set
    deliveries = deliveries + 1,
    conflicts = conflicts + (digest <> excluded.digest),
    redelivered_at = excluded.received_at
