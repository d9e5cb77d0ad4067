-- Tells this store from others: a client that keeps its place here asks whether it is still the same.
alter table upkeep add column store_id text
