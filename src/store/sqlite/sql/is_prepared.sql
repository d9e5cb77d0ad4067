-- 1 if the database is as the service wants it: ?1 is the version of its schema. Fails where there are no tables yet.
select (select journal_mode from pragma_journal_mode) = 'wal'
    and (select synchronous from pragma_synchronous) = 2
    and (select max(version) from schema_migrations) = ?1
