-- The seqs that can be read: behind the first value, up to the second.
select (select expired_through from {schema}upkeep), coalesce((select max(seq) from {identities}), 0)
