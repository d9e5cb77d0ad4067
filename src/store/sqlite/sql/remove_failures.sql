-- The failures of the consumer ?1 that ?2 has, a JSON array of seqs; all if it is null.
delete from failures where consumer = ?1 and (?2 is null or seq in (select value from json_each(?2)))
