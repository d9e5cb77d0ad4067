-- The microseconds since 1970 of a moment as version 0.2 kept it, and what it has beyond: see rare_moment().
create function sekali_0_2.micros(moment text, out micros bigint, out nanos integer) language plpgsql as $$
declare
    is_year_0 boolean := moment like '0000-%';
    is_leap boolean := substr(moment, 18, 2) = '60';
    seconds bigint := extract(epoch from (
        case when is_year_0 then '0400' else left(moment, 4) end || substr(moment, 5, 13)
        || case when is_leap then '59' else substr(moment, 18, 2) end
    )::timestamp)::bigint - case when is_year_0 then 146097 * 86400::bigint else 0 end;
    fraction text := rpad(substr(moment, 21), 9, '0');
begin
    if is_leap then
        micros := seconds * 1000000 + 999999;
        nanos := 1000 + fraction::integer;
    else
        micros := seconds * 1000000 + left(fraction, 6)::bigint;
        nanos := nullif(right(fraction, 3)::integer, 0);
    end if;
end
$$
