-- Failures of the consumer $1, $2 at most, as a JSON array. A replica may not know the newest.
select coalesce(json_agg(json_build_object(
    'seq', seq, 'lane', lane, 'topic', topic, 'event_id', event_id, 'state', case
        when dead = 1 then 'dead'
        when exists (
            select from sekali.failures as lower
            where lower.consumer = $1 and lower.lane = found.lane and lower.dead = 0 and lower.seq < found.seq
        ) then 'waiting'
        else 'parked'
    end,
    'attempts', attempts, 'due_at', due_at, 'reason', reason,
    'first_failed_at', first_failed_at, 'last_failed_at', last_failed_at
) order by place), '[]')::text
from (
    select *, row_number() over () as place
    from (select * from sekali.failures where consumer = $1 and sekali.is_primary()/* which */ limit $2) as chosen
) as found
