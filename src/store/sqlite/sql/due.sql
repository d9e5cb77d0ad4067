-- The end of those of the oldest ?3 rows that are not to be kept; how many of them are events; and how many rows that are.
-- ?1 are the newest events that are kept, ?2 the days for which one is; 0 keeps all.
with
oldest as (
    select seq, gone is null as is_event, received_at, sum(gone is null) over (order by seq) as events_through
    from (
        select seq, gone, received_at from events
        where seq > (select expired_through from upkeep) order by seq limit ?3
    )
),
surplus (events) as (
    select case when ?1 > 0 then coalesce(sum(unique_processed - expired - erased), 0) - ?1 else 0 end from topics
),
-- The first that is young enough.
young (seq) as (
    select coalesce(min(seq), 9223372036854775807) from oldest
    where ?2 = 0 or received_at >= strftime('%Y-%m-%dT%H:%M:%f', 'now', '-' || ?2 || ' days')
)
select max(seq), coalesce(sum(is_event), 0), count(*) from oldest
where ?2 > 0 and seq < (select seq from young)
    or ?1 > 0 and (
        events_through < (select events from surplus) or is_event and events_through = (select events from surplus)
    )
