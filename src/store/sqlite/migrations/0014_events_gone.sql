-- Identities in the order in which they are forgotten.
create index events_gone on events (received_at) where gone is not null
