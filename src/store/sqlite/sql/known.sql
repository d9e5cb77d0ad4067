-- The seq and digest of each stored event that ?1 names: a JSON array of [topic, event_id]. The order is that of ?1.
select json_group_array(json_array(seq, digest)) from (
    select events.seq, events.digest
    from json_each(?1) as wanted
    join events on events.topic = wanted.value ->> 0 and events.event_id = wanted.value ->> 1
    order by wanted.key
)
