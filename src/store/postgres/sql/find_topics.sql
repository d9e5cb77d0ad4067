-- The number of all topics, and those of the array $1 that are there.
select
    (select topics from sekali.upkeep),
    (select coalesce(json_agg(name), '[]')::text from sekali.topics where name = any($1))
