-- Failures of the consumer $1, $2 at most, as a JSON array.
select coalesce(json_agg(row_to_json(failure) order by place), '[]')::text
from (
    select *, row_number() over () as place
    from (select * from sekali.failures where consumer = $1/* which */ limit $2) as found
) as failure
