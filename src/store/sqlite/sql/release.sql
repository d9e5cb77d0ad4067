update upkeep set due_at = strftime('%Y-%m-%dT%H:%M:%f', 'now', '+' || ?1 || ' seconds')
