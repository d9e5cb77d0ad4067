-- Of the topics of a filter that may have events after ?1: the next seq of all of them up to ?2, null if there is none;
-- their number; and the number of their events ever. Then the newest seq of the store.
select /* first */(seq), count(*), cast(coalesce(sum(unique_processed), 0) as bigint), (select max(seq) from {identities})
from (
    select unique_processed, (
        select seq from {schema}events
        where topic = name and seq > ?1 and seq <= ?2 and /* is readable */ order by seq /* order */ limit 1
    ) as seq
    from {schema}topics where (/* is wanted */) and last_seq > ?1
) as entry
