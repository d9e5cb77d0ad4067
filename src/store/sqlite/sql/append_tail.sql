) where column2 is not null
on conflict (topic, event_id) do update set
    deliveries = deliveries + 1,
    conflicts = conflicts + (gone is null and digest <> excluded.digest),
    rival = case
        when gone is null and digest <> excluded.digest and octet_length(excluded.payload) <= 16384 then excluded.payload
        else rival
    end,
    redelivered_at = excluded.received_at
