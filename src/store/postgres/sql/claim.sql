-- The first instance to come when retention is due has the work for $1 seconds.
update sekali.upkeep set due_at = clock_timestamp() + $1::bigint * interval '1 second'
where due_at <= clock_timestamp() returning id
