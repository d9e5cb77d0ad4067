-- The number of a filter's topics that may have events after ?1, the number of their events ever, and the newest seq.
select count(*), cast(coalesce(sum(unique_processed), 0) as bigint), (select max(seq) from {identities})
from {schema}topics where (/* is wanted */) and last_seq > ?1
