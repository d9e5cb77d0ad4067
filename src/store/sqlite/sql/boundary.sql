-- The last seq of an answer of at most ?3 - 1 events after ?1 and up to ?2, and the number of matches up to ?3.
select /* last */(seq), (select count(*) from (/* matching */ limit ?3)) from (/* matching */ limit ?3 - 1)
