select sekali.forget($1::text::date, $2)
