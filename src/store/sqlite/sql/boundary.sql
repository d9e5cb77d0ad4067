-- Where an answer of at most ?3 - 1 events between ?1 and ?2 ends, and whether there is one more behind it.
select /* last */(seq), (select count(*) from (/* matching */ limit ?3)) from (/* matching */ limit ?3 - 1)
