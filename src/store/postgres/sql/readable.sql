-- The seqs that can be read: behind the first value, up to the second.
select expired_through, coalesce((select max(seq) from sekali.identities), 0) from sekali.upkeep
