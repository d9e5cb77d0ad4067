update sekali.upkeep set due_at = clock_timestamp() + $1::bigint * interval '1 second'
