-- The last run of blocks after ?1 and up to ?2 whose timestamps overlap the filter's, as a span, which is empty if there
-- is none. The run is of a thousand blocks at most. Events behind the last block may always match. Then the number of
-- events of the filter's span of time, up to ?3.
with last (through) as (
    select through from blocks
    where through > ?1 and through <= (select min(through) from blocks where through >= ?2)/* and overlaps */
    order by through desc limit 1
),
preceding (through, overlaps) as (
    select through, coalesce(true/* and overlaps */, false) from blocks
    where through < (select through from last) order by through desc limit 1000
)
select
    max(?1, case
        when ?2 > coalesce((select max(through) from blocks), 0) then coalesce((select max(through) from blocks), 0)
        when exists (select * from preceding where not overlaps) then (
            select max(through) from preceding where not overlaps
        )
        when (select count(*) from preceding) = 1000 then (select min(through) from preceding)
        else ?1
    end),
    case
        when ?2 > coalesce((select max(through) from blocks), 0) then ?2
        else min(?2, coalesce((select through from last), ?1))
    end,
    (select count(*) from (
        select 1 from events indexed by events_by_timestamp where gone is null/* and of the time */ limit ?3
    ))
