-- The answer to a request with the key $1, unless it was given up to $2.
select fingerprint, outcomes from sekali.answers where key = $1 and answered_at > $2
