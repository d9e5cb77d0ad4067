select case when sekali.erase_event($1, $2) then 1::bigint else 0 end
