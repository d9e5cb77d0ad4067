-- The event, or null if it is gone.
select
    (
        select /* event */ || case when rival is null then '' else ',"rival":' || rival end || '}'
        from events where seq = ?1 and gone is null
    ),
    (select max(seq) from events)
