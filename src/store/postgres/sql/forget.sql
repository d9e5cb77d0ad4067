select sekali.forget($1, $2)
