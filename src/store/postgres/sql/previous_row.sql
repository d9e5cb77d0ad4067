-- The last seq after $1 and up to $2; null if there is none.
select max(seq) from sekali.identities where seq > $1 and seq <= $2
