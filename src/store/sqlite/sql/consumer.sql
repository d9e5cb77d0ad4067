-- The consumer ?1, or nulls, and the present moment.
select version, state, cast(unixepoch('subsec') * 1000 as integer)
from (select 1) left join consumers on name = ?1
