-- The answers to requests with an Idempotency-Key, kept in the transaction that stores their events.
create table answers (
    key text primary key,
    fingerprint text not null,    -- of the request
    answered_at integer not null, -- seconds since 1970
    outcomes text not null        -- a JSON array of [seq, status] of its events: 0 stored, 1 duplicate, 2 conflict
)
