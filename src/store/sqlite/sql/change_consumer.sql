-- The consumer ?1 has the state ?3, if it is of the version ?2. After a power cut, or after it was deleted, no version of
-- before comes again.
update consumers set version = random(), state = ?3 where name = ?1 and version = ?2 returning version
