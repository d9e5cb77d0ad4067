-- The answer to the request with the key $1 within the last day.
select fingerprint, outcomes from sekali.answers
where key = $1 and answered_at > clock_timestamp() - interval '1 day' and not pg_is_in_recovery()
