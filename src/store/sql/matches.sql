-- The last seq of the first ?3 - 1 matches after ?1 and up to ?2, and the number of matches up to ?3.
select
    (select /* last */(seq) from (/* matching */ limit cast(?3 as bigint) - 1) as match),
    (select count(*) from (/* matching */ limit ?3) as match),
    (select max(seq) from {identities})
