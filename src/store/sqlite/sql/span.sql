-- The first and the last seq of the events from ?1 until before ?2, and their number, which is ?3 at most.
select min(seq), max(seq), count(*)
from (select seq from events where timestamp >= ?1 and timestamp < ?2 limit ?3)
