-- The consumer $1, or nulls, and the present moment. A replica may not know the newest.
select version, state, floor(extract(epoch from clock_timestamp()) * 1000)::bigint
from (select 1 where sekali.is_primary()) as one left join sekali.consumers on name = $1
