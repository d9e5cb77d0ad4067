-- The digest of what has expired is not known any more, nor needed.
insert into sekali.identities (seq, digest, received_on, deliveries, conflicts, erased, topic, event_id)
select
    seq, coalesce(event.digest, 0), received_on, nullif(event.deliveries, 1), nullif(event.conflicts, 0),
    nullif(known.erased, false), known.topic, known.event_id
from sekali_0_2.identities as known left join sekali_0_2.events as event using (seq)
order by seq
