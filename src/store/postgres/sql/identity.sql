-- The seq of an event; null if it is gone.
select case when erased is null and seq > (select expired_through from sekali.upkeep) then seq end
from sekali.identities where topic = $1 and event_id = $2
