-- A page of the matching events: as many as lengths gives, but no more once they have ?4 bytes of payload and attributes, so that a
-- page is bounded whatever the events are. One row, for rows are what costs: their texts are joined here.
select group_concat(/* event */, /* separator */), /* last */(seq), count(*)
from (
    /* rows */ and seq /* up to */ (
        select case
            when bytes <= ?4 then last
            -- Too many bytes: only a window over the lengths tells where to end, and it takes its time.
            else (
                select /* last */(seq) from (
                    select seq, sum(length) over (order by seq /* order */ rows unbounded preceding) - length as before
                    from (/* lengths */)
                )
                where before < ?4
            )
        end
        from (select /* last */(seq) as last, sum(length) as bytes from (/* lengths */))
    )
    order by seq /* order */
)
