-- The events with conflicts, in the order of seq. It costs nothing where there is none.
create index events_by_conflict on events (seq) where conflicts > 0 and gone is null
