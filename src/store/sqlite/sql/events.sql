-- The events of the seqs ?1, a JSON array, a line each.
select group_concat(event, char(10)), (select max(seq) from events) from (
    select /* event */ || '}' as event from events
    where seq in (select value from json_each(?1)) and gone is null order by seq
)
