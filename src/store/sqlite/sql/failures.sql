-- Failures of the consumer ?1, ?2 at most, as a JSON array.
select json_group_array(json_object(
    'seq', seq, 'lane', lane, 'topic', topic, 'event_id', event_id, 'state', case
        when dead = 1 then 'dead'
        when exists (
            select 1 from failures as lower
            where lower.consumer = ?1 and lower.lane = found.lane and lower.dead = 0 and lower.seq < found.seq
        ) then 'waiting'
        else 'parked'
    end,
    'attempts', attempts, 'due_at', due_at, 'reason', reason,
    'first_failed_at', first_failed_at, 'last_failed_at', last_failed_at
))
from (select * from failures where consumer = ?1/* which */ limit ?2) as found
