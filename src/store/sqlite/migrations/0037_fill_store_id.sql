update upkeep set store_id = lower(hex(randomblob(16)))
