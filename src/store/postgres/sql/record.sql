-- Keeps the totals of this minute, unless they are kept already.
insert into sekali.history as kept (slot, minute, unique_processed, duplicate_dropped, conflicts)
select
    minute % 1440, minute, coalesce(sum(unique_processed), 0)::bigint, coalesce(sum(duplicate_dropped), 0)::bigint,
    coalesce(sum(conflicts), 0)::bigint
from (select floor(extract(epoch from clock_timestamp()) / 60)::bigint as minute) as present left join sekali.topics on true
group by minute
on conflict (slot) do update set
    minute = excluded.minute,
    unique_processed = excluded.unique_processed,
    duplicate_dropped = excluded.duplicate_dropped,
    conflicts = excluded.conflicts
where kept.minute < excluded.minute
