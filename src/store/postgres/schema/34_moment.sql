-- A moment as text, without a 'Z'. JSON's form of a timestamp does not depend on the settings of a session. As a stable
-- function of one query, it becomes a part of the query that calls it.
create function sekali.moment(micros bigint, nanos integer) returns text language sql stable as $$
    select case
        when nanos is null and micros >= -62135596800000000 then btrim(to_json(
            timestamp '1970-01-01' + micros / 86400000000 * interval '1 day'
            + micros % 86400000000 * interval '1 microsecond'
        )::text, '"')
        else sekali.rare_moment(micros, coalesce(nanos, 0))
    end
$$
