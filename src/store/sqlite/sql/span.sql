-- Where in the order of seq the events from ?1 until before ?2 lie, if there are no more than ?3 of them to look at.
select min(seq), max(seq), count(*)
from (select seq from events where timestamp >= ?1 and timestamp < ?2 limit ?3)
