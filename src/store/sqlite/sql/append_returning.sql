-- Only for a single event, where this saves a statement. For a group, many returned rows would cost more than
-- another statement, which reads them as one row.
returning seq, deliveries, digest
