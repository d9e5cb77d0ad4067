-- The seq and digest of each stored event that ?1 names: a JSON array of [topic, event_id]. The order is that of ?1.
-- The digest is null if the event is gone.
select json_group_array(json_array(seq, digest)) from (
    select events.seq, case when events.gone is null then events.digest end as digest
    from json_each(?1) as wanted
    join events on events.topic = wanted.value ->> 0 and events.event_id = wanted.value ->> 1
    order by wanted.key
)
