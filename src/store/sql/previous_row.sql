-- The last seq after ?1 and up to ?2; null if there is none.
select
    (select max(seq) from {identities} where seq > ?1 and seq <= ?2),
    (select max(seq) from {identities})
