-- The next seq of a filter's topics, after ?1 and up to ?2; null if there is none.
select /* first */(seq), (select max(seq) from {identities})
from (
    select (
        select seq from {schema}events
        where topic = name and seq > ?1 and seq <= ?2 and /* is readable */ order by seq /* order */ limit 1
    ) as seq
    from {schema}topics where (/* is wanted */) and last_seq > ?1
) as entry
