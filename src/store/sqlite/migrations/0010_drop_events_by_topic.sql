drop index events_by_topic
