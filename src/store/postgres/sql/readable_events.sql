select coalesce(sum(unique_processed - expired - erased), 0)::bigint from sekali.topics
