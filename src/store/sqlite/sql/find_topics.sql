-- The number of all topics, and those of the JSON array ?1 that are there.
select
    (select topics from upkeep),
    (select json_group_array(value) from json_each(?1) where exists (select * from topics where name = value))
