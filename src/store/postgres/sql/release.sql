update sekali.upkeep set due_at = $1
