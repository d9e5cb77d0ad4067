-- The event, or null if it is gone.
select (select /* event */ from events where seq = ?1 and gone is null), (select max(seq) from events)
