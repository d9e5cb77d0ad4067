-- The totals of the last ?1 minutes, oldest first, as a JSON array.
select coalesce(json_group_array(json_object(
    'at', strftime('%Y-%m-%dT%H:%M:%SZ', minute * 60, 'unixepoch'),
    'received', unique_processed + duplicate_dropped,
    'unique_processed', unique_processed,
    'duplicate_dropped', duplicate_dropped,
    'conflicts', conflicts
)), '[]')
from (select * from history where minute > unixepoch() / 60 - ?1 order by minute)
