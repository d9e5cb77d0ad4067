-- The last seq of the first ?3 - 1 matches after ?1 and up to ?2, and the number of matches up to ?3.
select /* last */(seq), (select count(*) from (/* matching */ limit ?3)) from (/* matching */ limit ?3 - 1)
