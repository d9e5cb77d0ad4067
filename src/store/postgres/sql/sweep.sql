select swept_now, case when has_more then 1::bigint else 0 end from sekali.sweep($1)
