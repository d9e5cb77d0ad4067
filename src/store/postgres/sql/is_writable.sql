-- 1 if the server takes writes, which a replica does not.
select case when pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' then 0::bigint else 1 end
