-- The last run of blocks after ?1 and up to ?2 whose timestamps overlap the filter's, as a span, which is empty if there
-- is none. A run that does not end within 128 blocks is long, and taken as endless. Events behind the last block may
-- always match. Then the number of events of the filter's span of time, up to ?3.
with
-- The block of ?2, and the section of ?2; null if it is in none yet.
block (through) as (select min(through) from blocks where through >= ?2),
section (through) as (select min(through) from sections where through >= ?2),
-- No block behind this one overlaps, up to ?2. Null where there is no block before ?2 that does.
passed (through) as (
    select case
        when (select through from section) is null and exists (
            select * from blocks
            where through > coalesce((select max(through) from sections), 0)
                and through <= (select through from block)/* and overlaps */
        ) then (select through from block)
        else (
            select min((select through from block), through) from sections
            where through > ?1 and through <= coalesce((select through from section), 9223372036854775807)/* and overlaps */
            order by through desc limit 1
        )
    end
),
last (through) as (
    select through from blocks
    where through > ?1 and through <= (select through from passed)/* and overlaps */
    order by through desc limit 1
),
preceding (through, overlaps) as (
    select through, coalesce(true/* and overlaps */, false) from blocks
    where through < (select through from last) order by through desc limit 128
)
select
    max(?1, case
        when (select through from block) is null then coalesce((select max(through) from blocks), 0)
        when exists (select * from preceding where not overlaps) then (
            select max(through) from preceding where not overlaps
        )
        else ?1
    end),
    case
        when (select through from block) is null then ?2
        else min(?2, coalesce((select through from last), ?1))
    end,
    (select count(*) from (
        select 1 from events indexed by events_by_timestamp where gone is null/* and of the time */ limit ?3
    ))
