-- The first run of blocks after ?1 and up to ?2 whose timestamps overlap the filter's, as a span, which is empty if there
-- is none. A run that does not end within 128 blocks is long, and taken as endless. Events behind the last block may
-- always match.
with section (through) as (
    select through from {schema}sections where through > ?1/* and overlaps */ order by through limit 1
),
-- No block up to here overlaps, after ?1.
passed (through) as (
    select {greatest}(?1, coalesce((
        select max(through) from {schema}sections
        where through < coalesce((select through from section), 9223372036854775807)
    ), 0))
),
first_block (through) as (
    select through from {schema}blocks
    where through > (select through from passed)/* and overlaps */ order by through limit 1
),
next_block (through, is_match) as (
    select through, coalesce(true/* and overlaps */, false) from {schema}blocks
    where through > (select through from first_block) order by through limit 128
)
select
    {least}(?2, {greatest}(?1, coalesce((
        select max(through) from {schema}blocks
        where through < coalesce((select through from first_block), 9223372036854775807)
    ), 0))),
    {least}(?2, case
        when exists (select * from next_block where not is_match) then (
            select max(through) from {schema}blocks
            where through < (select min(through) from next_block where not is_match)
        )
        else ?2
    end),
    (select max(seq) from {identities})
