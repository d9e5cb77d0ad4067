-- One statement, so that it is a consistent snapshot. It reads counters only, never events. Totals are of all topics;
-- those that are listed are the ?3 latest active ones, of those that lie in a range from ?1 to before ?2, which are JSON
-- arrays, or of all if they are null.
with total as (
    select
        coalesce(sum(unique_processed), 0) as unique_processed,
        coalesce(sum(duplicate_dropped), 0) as duplicate_dropped,
        coalesce(sum(conflicts), 0) as conflicts,
        coalesce(sum(expired), 0) as expired,
        coalesce(sum(erased), 0) as erased,
        coalesce(sum(forgotten), 0) as forgotten,
        coalesce(max(last_seq), 0) as last_seq,
        count(*) as topics
    from topics
),
named (name) as (
    select topics.name from json_each(?1) as low join json_each(?2) as high on high.key = low.key
    cross join topics on topics.name >= low.value and topics.name < high.value
),
listed as (
    select * from topics
    where name in (
        select name from topics where ?1 is null or name in named order by last_received_at desc, name limit ?3
    )
    order by name
)
select
    unique_processed,
    duplicate_dropped,
    conflicts,
    expired,
    erased,
    forgotten,
    (select expired_through + 1 from upkeep),
    last_seq,
    topics,
    (select json_group_array(name) from listed),
    (select json_group_array(json_object(
        'topic', name,
        'received', unique_processed + duplicate_dropped,
        'unique_processed', unique_processed,
        'duplicate_dropped', duplicate_dropped,
        'conflicts', conflicts,
        'expired', expired,
        'erased', erased,
        'forgotten', forgotten,
        'last_seq', last_seq,
        'last_received_at', last_received_at || 'Z'
    )) from listed),
    (select store_id from upkeep)
from total
