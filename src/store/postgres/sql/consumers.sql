-- All consumers as a JSON array, and the present moment.
select
    coalesce(json_agg(json_build_object('name', name, 'version', version, 'state', state) order by name), '[]')::text,
    floor(extract(epoch from clock_timestamp()) * 1000)::bigint
from sekali.consumers
