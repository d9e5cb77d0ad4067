-- The end of the oldest $2 events, of those that were received before $1, and their number.
with oldest as (
    select seq, received_at from sekali.events
    where seq > (select expired_through from sekali.upkeep) order by seq limit $2
)
select max(seq), count(*) from oldest
where seq < coalesce((select min(seq) from oldest where received_at >= $1), (select max(seq) + 1 from oldest))
