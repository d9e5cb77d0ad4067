select case when sekali.drop_expired() then 1::bigint else 0 end
