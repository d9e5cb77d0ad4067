-- The answers to requests with an Idempotency-Key, kept in the transaction that stores their events.
create table sekali.answers (
    key text collate "C" primary key,
    fingerprint text not null,        -- of the request
    answered_at timestamptz not null,
    outcomes text not null            -- a JSON array of [seq, status] of its events: 0 stored, 1 duplicate, 2 conflict
)
