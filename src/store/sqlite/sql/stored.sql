-- The last seq and the places of the events that the latest write stored. ?1 is its commit id, ?2 the number of its
-- events. New rows are the newest, so a range of seq finds them. If the write had duplicates, older rows lie in the
-- range, too: their commit ids are others.
select max(seq), json_group_array(commit_id - ?1)
from events
where seq > last_insert_rowid() - ?2 and seq <= last_insert_rowid() and commit_id between ?1 and ?1 + ?2 - 1
