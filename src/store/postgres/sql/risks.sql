-- Settings of the server without which a commit may be lost although it was answered, as a JSON array.
select coalesce(json_agg(name || ' is off'), '[]')::text
from unnest(array['synchronous_commit', 'fsync', 'full_page_writes']) as name where current_setting(name) = 'off'
