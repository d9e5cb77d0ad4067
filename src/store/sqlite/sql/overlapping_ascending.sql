-- The first run of blocks after ?1 and up to ?2 whose timestamps overlap the filter's, as a span, which is empty if there
-- is none. A run that does not end within 128 blocks is long, and taken as endless. Events behind the last block may
-- always match. Then the number of events of the filter's span of time, up to ?3.
with section (through) as (
    select through from sections where through > ?1/* and overlaps */ order by through limit 1
),
-- No block up to here overlaps, after ?1.
passed (through) as (
    select max(?1, coalesce((
        select max(through) from sections
        where through < coalesce((select through from section), 9223372036854775807)
    ), 0))
),
first (through) as (
    select through from blocks
    where through > (select through from passed)/* and overlaps */ order by through limit 1
),
following (through, overlaps) as (
    select through, coalesce(true/* and overlaps */, false) from blocks
    where through > (select through from first) order by through limit 128
)
select
    min(?2, max(?1, coalesce((
        select max(through) from blocks
        where through < coalesce((select through from first), 9223372036854775807)
    ), 0))),
    min(?2, case
        when exists (select * from following where not overlaps) then (
            select max(through) from blocks
            where through < (select min(through) from following where not overlaps)
        )
        else ?2
    end),
    (select count(*) from (
        select 1 from events indexed by events_by_timestamp where gone is null/* and of the time */ limit ?3
    ))
