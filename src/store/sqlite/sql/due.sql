-- The end of the oldest ?2 rows, of those that were received before ?1; their number; and how many can be read.
with oldest as (
    select seq, gone, received_at from events
    where seq > (select expired_through from upkeep) order by seq limit ?2
)
select max(seq), count(*), count(*) filter (where gone is null) from oldest
where seq < coalesce((select min(seq) from oldest where received_at >= ?1), (select max(seq) + 1 from oldest))
