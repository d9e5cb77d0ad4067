-- One statement, so that it is a consistent snapshot. It reads counters only, never events.
select
    coalesce(sum(unique_processed), 0),
    coalesce(sum(duplicate_dropped), 0),
    coalesce(sum(conflicts), 0),
    coalesce(max(last_seq), 0),
    json_group_array(name),
    json_group_array(json_object(
        'topic', name,
        'received', unique_processed + duplicate_dropped,
        'unique_processed', unique_processed,
        'duplicate_dropped', duplicate_dropped,
        'conflicts', conflicts,
        'last_seq', last_seq,
        'last_received_at', last_received_at || 'Z'
    ))
from (select * from topics order by name)
