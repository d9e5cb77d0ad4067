-- The isolation of a transaction unless it says otherwise.
select current_setting('transaction_isolation')
