-- Keeps the totals of this minute, unless they are kept already.
insert into history (slot, minute, unique_processed, duplicate_dropped, conflicts)
select minute % 1440, minute, coalesce(sum(unique_processed), 0), coalesce(sum(duplicate_dropped), 0), coalesce(sum(conflicts), 0)
from (select unixepoch() / 60 as minute) left join topics
group by minute
on conflict (slot) do update set
    minute = excluded.minute,
    unique_processed = excluded.unique_processed,
    duplicate_dropped = excluded.duplicate_dropped,
    conflicts = excluded.conflicts
where minute < excluded.minute
