-- Only for a single event, where this saves a statement. For a group, many returned rows would cost more than
-- another statement, which reads them as one row. Nobody can tell whether a payload differs from one that is gone.
returning seq, deliveries, case when gone is null then digest end
