-- The answer to the request with the key ?1 within the last day.
select fingerprint, outcomes from answers where key = ?1 and answered_at > unixepoch() - 86400
