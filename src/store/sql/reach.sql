-- The seq that the next ?3 entries lead to; null if there are fewer.
select case when count(*) = ?3 then /* last */(seq) end, (select max(seq) from {identities})
from (/* entries */ limit ?3) as entry
