select case when to_regclass('sekali.schema_migrations') is null then 0::bigint else 1 end
