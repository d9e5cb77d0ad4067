-- One statement, so that it is a consistent snapshot. It reads counters only, never events. Totals are of all topics;
-- those that are listed are the $3 latest active ones, of those that lie in a range from $1 to before $2, which are
-- arrays, or of all if they are null.
with total as (
    select
        coalesce(sum(unique_processed), 0)::bigint as unique_processed,
        coalesce(sum(duplicate_dropped), 0)::bigint as duplicate_dropped,
        coalesce(sum(conflicts), 0)::bigint as conflicts,
        coalesce(sum(expired), 0)::bigint as expired,
        coalesce(sum(erased), 0)::bigint as erased,
        coalesce(sum(forgotten), 0)::bigint as forgotten,
        coalesce(max(last_seq), 0) as last_seq,
        count(*) as topics
    from sekali.topics
),
named as (
    select name from unnest($1::text[], $2::text[]) as range (low, high)
    join sekali.topics on name >= low and name < high
),
listed as (
    select * from sekali.topics
    where name in (
        select name from sekali.topics where $1::text[] is null or name in (select name from named)
        order by last_received_at desc, name limit $3
    )
)
select
    unique_processed,
    duplicate_dropped,
    conflicts,
    expired,
    erased,
    forgotten,
    (select expired_through + 1 from sekali.upkeep),
    last_seq,
    topics,
    (select coalesce(array_to_json(array_agg(name order by name)), '[]')::text from listed),
    (select coalesce(array_to_json(array_agg(account order by topic)), '[]')::text from (
        select
            name as topic,
            unique_processed + duplicate_dropped as received,
            unique_processed,
            duplicate_dropped,
            conflicts,
            expired,
            erased,
            forgotten,
            last_seq,
            sekali.moment(last_received_at, null) || 'Z' as last_received_at
        from listed
    ) as account),
    (select store_id from sekali.upkeep)
from total
