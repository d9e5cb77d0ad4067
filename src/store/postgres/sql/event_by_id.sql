-- The event, or null if it is gone.
select (
    select /* event */ from sekali.events
    where seq = known.seq and seq > (select expired_through from sekali.upkeep)
)
from sekali.identities as known where topic = $1 and event_id = $2
