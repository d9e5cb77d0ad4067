-- Of one event alone, which saves a statement. The rows of a group would cost more on their way than the one
-- statement by which they are read back as one row.
returning seq, deliveries, digest
