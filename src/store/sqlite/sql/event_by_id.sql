-- The event, or null if it is gone.
select case when gone is null then /* event */ end from events where topic = ?1 and event_id = ?2
