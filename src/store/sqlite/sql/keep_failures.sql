-- The failures of the consumer ?1 that the JSON array ?2 has are new, or replace those of before.
insert or replace into failures
    (consumer, seq, lane, topic, event_id, dead, attempts, due_at, reason, first_failed_at, last_failed_at)
select
    ?1, value ->> 'seq', value ->> 'lane', value ->> 'topic', value ->> 'event_id', value ->> 'state' = 'dead',
    value ->> 'attempts', value ->> 'due_at', value ->> 'reason', value ->> 'first_failed_at', value ->> 'last_failed_at'
from json_each(?2)
