select case when sekali.expire($1) then 1::bigint else 0 end
