-- What endangers the events, as a JSON array. Only a server of libSQL syncs less: its default is to do so at checkpoints.
select case when synchronous < 2 then '["synchronous is not full"]' else '[]' end from pragma_synchronous
