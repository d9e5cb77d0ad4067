select count(*) from events where topic = ?1 and event_id = ?2
