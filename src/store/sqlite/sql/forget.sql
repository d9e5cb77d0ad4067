-- The oldest ?2 identities that were received ?1 days ago. The newest row stays: it tells the next seq.
delete from events where seq in (
    select seq from events
    where gone is not null and received_at < strftime('%Y-%m-%dT%H:%M:%f', 'now', '-' || ?1 || ' days')
        and seq < (select max(seq) from events)
    order by received_at limit ?2
)
