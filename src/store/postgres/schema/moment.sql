-- A moment as text, without a 'Z', of those with nanoseconds, in a leap second (whose nanoseconds are from 1000 on), or
-- in the year 0, which PostgreSQL does not have: it is like the year 400.
create function sekali.rare_moment(micros bigint, nanos integer) returns text language plpgsql stable as $$
declare
    is_year_0 boolean := micros < -62135596800000000;
    shifted bigint := micros + case when is_year_0 then 146097 * 86400000000 else 0 end;
    moment timestamp := timestamp '1970-01-01' + shifted / 86400000000 * interval '1 day'
        + shifted % 86400000000 * interval '1 microsecond';
    told text;
begin
    if nanos < 1000 then
        told := to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS.US') || lpad(nanos::text, 3, '0');
    else
        told := to_char(moment, 'YYYY-MM-DD"T"HH24:MI:60.') || lpad((nanos - 1000)::text, 9, '0');
    end if;
    if is_year_0 then
        told := overlay(told placing '0000' from 1 for 4);
    end if;
    return rtrim(rtrim(told, '0'), '.');
end
$$;

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
$$;
