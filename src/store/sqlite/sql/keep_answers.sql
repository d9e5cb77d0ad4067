-- The answers of ?1, a JSON array of [key, fingerprint, outcomes]. One that is replaced is a new row, so that rows are in
-- the order of their age.
insert or replace into answers (key, fingerprint, answered_at, outcomes)
select value ->> 0, value ->> 1, unixepoch(), value ->> 2 from json_each(?1)
