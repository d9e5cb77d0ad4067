insert into sekali.events (seq, timestamp, received_at, nanos, topic, source, payload, attributes)
select seq, moment.micros, receipt.micros, moment.nanos, topic, source, payload, attributes
from sekali_0_2.events
cross join lateral sekali_0_2.micros(timestamp) as moment
cross join lateral sekali_0_2.micros(received_at) as receipt
where seq > (select expired_through from sekali_0_2.upkeep)
order by seq
