-- Null while the event can be read. Otherwise the row keeps only its identity, so that a late duplicate stays a
-- duplicate: 'expired', 'erased', or 'reserved' for the row with which a restore sets the next seq.
alter table events add column gone text
