-- The events of the seqs $1, a line each.
select string_agg(/* event */ || '}', chr(10) order by seq), (select max(seq) from sekali.identities)
from sekali.events
join (select seq, event_id, deliveries, conflicts from sekali.identities where seq = any($1)) as known using (seq)
where seq = any($1) and seq > (select expired_through from sekali.upkeep)
