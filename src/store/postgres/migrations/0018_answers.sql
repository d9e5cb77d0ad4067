-- The answers to requests with an Idempotency-Key, which all hosts share.
create table sekali.answers (
    key text collate "C" primary key,
    fingerprint text not null,   -- of the request
    answered_at bigint not null, -- milliseconds since 1970
    outcomes text not null       -- a JSON array of [seq, status] of its events: 0 stored, 1 duplicate, 2 conflict
)
