-- Those of the JSON array ?1 of keys that were answered within the last day.
select json_group_array(key) from answers
where key in (select value from json_each(?1)) and answered_at > unixepoch() - 86400
