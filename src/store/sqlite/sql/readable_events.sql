select coalesce(sum(unique_processed - expired - erased), 0) from topics
