-- The stored events of the identities in ?1, a JSON array of [topic, event_id], in its order.
select json_group_array(json_array(seq, digest)) from (
    select events.seq, events.digest
    from json_each(?1) as wanted
    join events on events.topic = wanted.value ->> 0 and events.event_id = wanted.value ->> 1
    order by wanted.key
)
