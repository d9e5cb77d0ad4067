-- The events after ?1 and up to ?2: at most ?3 of them, and no more once they have ?4 bytes of payload, so that
-- a page is bounded whatever the events are. One row, for rows are what costs: their texts are joined here.
select
    group_concat(
        '{"seq":' || seq
        || ',"topic":' || json_quote(topic)
        || ',"event_id":' || json_quote(event_id)
        || ',"timestamp":"' || timestamp
        || 'Z","source":' || json_quote(source)
        || ',"payload":' || payload -- valid JSON by construction
        || ',"received_at":"' || received_at
        || 'Z","deliveries":' || deliveries
        || ',"conflicts":' || conflicts || '}',
        ','
    ),
    max(seq),
    count(*)
from (
    select * from events
    where seq > ?1 and /* filter */ true and seq <= (
        select case
            when bytes < ?4 then last
            -- Too many bytes: only a window over the lengths tells where to end, and it takes its time.
            else (
                select max(seq) from (
                    select seq, sum(octet_length(payload)) over (order by seq rows unbounded preceding) - octet_length(payload) as before
                    from events
                    where seq > ?1 and seq <= ?2 and /* filter */ true
                    order by seq
                    limit ?3
                )
                where before < ?4
            )
        end
        from (
            select max(seq) as last, sum(length) as bytes
            from (
                select seq, octet_length(payload) as length from events
                where seq > ?1 and seq <= ?2 and /* filter */ true
                order by seq
                limit ?3
            )
        )
    )
    order by seq
)
