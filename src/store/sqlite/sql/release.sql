update upkeep set due_at = ?1
