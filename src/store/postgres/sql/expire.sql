select expired_now, case when has_more then 1::bigint else 0 end, case when leaves then 1::bigint else 0 end
from sekali.expire($1, $2, $3)
