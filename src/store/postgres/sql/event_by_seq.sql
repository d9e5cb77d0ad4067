-- The event, or null if it is gone. The seq is a constant when this is planned, so one partition is looked at.
select
    (
        select /* event */
            || coalesce(',"rival":' || (select rival.payload from sekali.rivals as rival where rival.seq = $1), '') || '}'
        from sekali.events as event
        join (select seq, event_id, deliveries, conflicts from sekali.identities) as known using (seq)
        where event.seq = $1 and event.seq > (select expired_through from sekali.upkeep)
    ),
    (select max(seq) from sekali.identities)
