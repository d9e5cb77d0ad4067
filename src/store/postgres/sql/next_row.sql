-- The first seq after $1 and up to $2; null if there is none.
select min(seq) from sekali.identities where seq > $1 and seq <= $2
