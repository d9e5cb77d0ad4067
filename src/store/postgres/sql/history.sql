-- The totals of the last $1 minutes, oldest first, as a JSON array.
select coalesce(json_agg(json_build_object(
    'at', to_char(to_timestamp(minute * 60) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'received', unique_processed + duplicate_dropped,
    'unique_processed', unique_processed,
    'duplicate_dropped', duplicate_dropped,
    'conflicts', conflicts
) order by minute), '[]')::text
from sekali.history where minute > floor(extract(epoch from clock_timestamp()) / 60)::bigint - $1
