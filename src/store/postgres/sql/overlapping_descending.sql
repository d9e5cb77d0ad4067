-- The last run of blocks after $1 and up to $2 whose timestamps overlap the filter's, as a span, which is empty if there
-- is none. A run that does not end within 128 blocks is long, and taken as endless. Events behind the last block may
-- always match. Then the number of events of the filter's span of time, up to $3.
with
-- The block of $2, and the section of $2; null if it is in none yet.
block (through) as (select min(through) from sekali.blocks where through >= $2),
section (through) as (select min(through) from sekali.sections where through >= $2),
-- No block behind this one overlaps, up to $2. Null where there is no block before $2 that does.
passed (through) as (
    select case
        when (select through from section) is null and exists (
            select * from sekali.blocks
            where through > coalesce((select max(through) from sekali.sections), 0)
                and through <= (select through from block)/* and overlaps */
        ) then (select through from block)
        else (
            select least((select through from block), through) from sekali.sections
            where through > $1 and through <= coalesce((select through from section), 9223372036854775807)/* and overlaps */
            order by through desc limit 1
        )
    end
),
last (through) as (
    select through from sekali.blocks
    where through > $1 and through <= (select through from passed)/* and overlaps */
    order by through desc limit 1
),
earlier (through, is_match) as (
    select through, coalesce(true/* and overlaps */, false) from sekali.blocks
    where through < (select through from last) order by through desc limit 128
)
select
    greatest($1, case
        when (select through from block) is null then coalesce((select max(through) from sekali.blocks), 0)
        when exists (select * from earlier where not is_match) then (
            select max(through) from earlier where not is_match
        )
        else $1
    end),
    case
        when (select through from block) is null then $2
        else least($2, coalesce((select through from last), $1))
    end,
    (select count(*) from (
        select 1 from sekali.events where true/* and of the time */ limit $3
    ) as event)
