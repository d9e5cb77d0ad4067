) where column2 is not null
on conflict (topic, event_id) do update set
    deliveries = deliveries + 1,
    conflicts = conflicts + (gone is null and digest <> excluded.digest),
    redelivered_at = excluded.received_at
