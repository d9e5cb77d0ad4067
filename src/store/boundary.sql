-- Where an answer of at most ?2 events after ?1 ends, and whether there is more behind it.
select last, exists(select 1 from events where seq > last and /* filter */ true)
from (
    select max(seq) as last from (
        select seq from events where seq > ?1 and /* filter */ true order by seq limit ?2
    )
)
