-- What the write just made stored: ?1 is its commit id, ?2 how many events it had. New rows are the newest ones,
-- so a range of seq finds them, and the commit id tells them from older rows when some were duplicates.
select max(seq), json_group_array(commit_id - ?1)
from events
where seq > last_insert_rowid() - ?2 and seq <= last_insert_rowid() and commit_id between ?1 and ?1 + ?2 - 1
