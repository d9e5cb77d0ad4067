-- The first instance to come when retention is due at $1 has the work until $2.
update sekali.upkeep set due_at = $2 where due_at <= $1 returning id
