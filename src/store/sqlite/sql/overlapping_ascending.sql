-- The first run of blocks after ?1 and up to ?2 whose timestamps overlap the filter's, as a span, which is empty if there
-- is none. The run is of a thousand blocks at most. Events behind the last block may always match. Then the number of
-- events of the filter's span of time, up to ?3.
with first (through) as (
    select through from blocks where through > ?1/* and overlaps */ order by through limit 1
),
following (through, overlaps) as (
    select through, coalesce(true/* and overlaps */, false) from blocks
    where through > (select through from first) order by through limit 1000
)
select
    min(?2, max(?1, coalesce((select max(through) from blocks where through < (select through from first)), 0), case
        when (select through from first) is null then coalesce((select max(through) from blocks), 0)
        else 0
    end)),
    min(?2, case
        when exists (select * from following where not overlaps) then (
            select max(through) from blocks
            where through < (select min(through) from following where not overlaps)
        )
        when (select count(*) from following) = 1000 then (select max(through) from following)
        else ?2
    end),
    (select count(*) from (
        select 1 from events indexed by events_by_timestamp where gone is null/* and of the time */ limit ?3
    ))
