-- The change, and the seqs that could be read before it: behind the first value, up to the second.
select
    (select expired_through from sekali.upkeep),
    coalesce((select max(seq) from sekali.identities), 0),
    sekali.change_consumer($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
