-- The last run of blocks after ?1 and up to ?2 whose timestamps overlap the filter's, as a span, which is empty if there
-- is none. A run that does not end within 128 blocks is long, and taken as endless. Events behind the last block may
-- always match.
with
-- The block of ?2, and the section of ?2; null if it is in none yet.
end_block (through) as (select min(through) from {schema}blocks where through >= ?2),
end_section (through) as (select min(through) from {schema}sections where through >= ?2),
-- No block behind this one overlaps, up to ?2. Null where there is no block before ?2 that does.
passed (through) as (
    select case
        when (select through from end_section) is null and exists (
            select * from {schema}blocks
            where through > coalesce((select max(through) from {schema}sections), 0)
                and through <= (select through from end_block)/* and overlaps */
        ) then (select through from end_block)
        else (
            select {least}((select through from end_block), through) from {schema}sections
            where through > ?1
                and through <= coalesce((select through from end_section), 9223372036854775807)/* and overlaps */
            order by through desc limit 1
        )
    end
),
last_block (through) as (
    select through from {schema}blocks
    where through > ?1 and through <= (select through from passed)/* and overlaps */
    order by through desc limit 1
),
earlier_block (through, is_match) as (
    select through, coalesce(true/* and overlaps */, false) from {schema}blocks
    where through < (select through from last_block) order by through desc limit 128
)
select
    {greatest}(?1, case
        when (select through from end_block) is null then coalesce((select max(through) from {schema}blocks), 0)
        when exists (select * from earlier_block where not is_match) then (
            select max(through) from earlier_block where not is_match
        )
        else ?1
    end),
    case
        when (select through from end_block) is null then ?2
        else {least}(?2, coalesce((select through from last_block), ?1))
    end,
    (select max(seq) from {identities})
