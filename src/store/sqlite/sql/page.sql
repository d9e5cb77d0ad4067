-- A page of the matching events: at most ?3, and it ends with the event that reaches ?4 bytes of payload and
-- attributes, so that any page is bounded. Their texts are joined to one row, because each row costs time.
select group_concat(/* event */ || '}', /* separator */), /* last */(seq), count(*), (select max(seq) from events)
from (
    /* rows */ and seq /* up to */ (
        select case
            when bytes <= ?4 then last
            -- Too many bytes: a window over the lengths finds the end. It is slow, so other pages do without it.
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
