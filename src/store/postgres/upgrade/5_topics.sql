insert into sekali.topics
select name, unique_processed, duplicate_dropped, conflicts, expired, erased, forgotten, last_seq, moment.micros
from sekali_0_2.topics cross join lateral sekali_0_2.micros(last_received_at) as moment
