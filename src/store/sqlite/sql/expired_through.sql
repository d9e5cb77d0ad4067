update upkeep set expired_through = ?1
