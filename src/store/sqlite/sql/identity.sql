-- The seq of an event; null if it is gone.
select case when gone is null then seq end from events where topic = ?1 and event_id = ?2
