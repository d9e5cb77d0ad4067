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
$$;

-- The digest of what has expired is not known any more, nor needed.
insert into sekali.identities (seq, digest, received_on, deliveries, conflicts, erased, topic, event_id)
select
    seq, coalesce(event.digest, 0), received_on, nullif(event.deliveries, 1), nullif(event.conflicts, 0),
    nullif(known.erased, false), known.topic, known.event_id
from sekali_0_2.identities as known left join sekali_0_2.events as event using (seq)
order by seq;

-- Those in which an event can be read, and room for the next.
do $$
declare
    part record;
begin
    for part in
        select number from sekali_0_2.partitions
        where ((number + 1) << 20) - 1 > (select expired_through from sekali_0_2.upkeep) order by number
    loop
        perform sekali.make_partitions(part.number << 20, part.number << 20);
    end loop;
end
$$;

insert into sekali.events (seq, timestamp, received_at, nanos, topic, source, payload, attributes)
select seq, moment.micros, receipt.micros, moment.nanos, topic, source, payload, attributes
from sekali_0_2.events
cross join lateral sekali_0_2.micros(timestamp) as moment
cross join lateral sekali_0_2.micros(received_at) as receipt
where seq > (select expired_through from sekali_0_2.upkeep)
order by seq;

insert into sekali.topics
select name, unique_processed, duplicate_dropped, conflicts, expired, erased, forgotten, last_seq, moment.micros
from sekali_0_2.topics cross join lateral sekali_0_2.micros(last_received_at) as moment;

insert into sekali.blocks
select through, first.micros, last.micros from sekali_0_2.blocks
left join lateral sekali_0_2.micros(earliest) as first on earliest is not null
left join lateral sekali_0_2.micros(latest) as last on latest is not null;

insert into sekali.sections
select through, first.micros, last.micros from sekali_0_2.sections
left join lateral sekali_0_2.micros(earliest) as first on earliest is not null
left join lateral sekali_0_2.micros(latest) as last on latest is not null;

update sekali.upkeep set
    expired_through = before.expired_through,
    swept_through = before.expired_through,
    sweep_through = before.expired_through,
    sweep_next = before.expired_through,
    topics = (select count(*) from sekali.topics)
from sekali_0_2.upkeep as before;

insert into sekali.answers
select key, fingerprint, to_timestamp(answered_at / 1000.0), outcomes from sekali_0_2.answers;
