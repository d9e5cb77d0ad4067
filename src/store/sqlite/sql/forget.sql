-- The oldest ?2 identities that were received before ?1. The newest row stays: it tells the next seq.
delete from events where seq in (
    select seq from events
    where gone is not null and received_at < ?1 and seq < (select max(seq) from events)
    order by received_at limit ?2
)
