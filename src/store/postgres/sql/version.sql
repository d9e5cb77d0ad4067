select coalesce(max(version), 0)::bigint from sekali.schema_migrations
