-- The consumer ?1 has the version ?4 and the state ?3, if it is of the version ?2. Returns the seqs that can be read: behind
-- the first value, up to the second.
update consumers set version = ?4, state = ?3 where name = ?1 and version = ?2
returning (select expired_through from upkeep), coalesce((select max(seq) from events), 0)
