-- The first instance to come when retention is due has the work for ?1 seconds.
update upkeep set due_at = strftime('%Y-%m-%dT%H:%M:%f', 'now', '+' || ?1 || ' seconds')
where due_at <= strftime('%Y-%m-%dT%H:%M:%f', 'now')
returning id
