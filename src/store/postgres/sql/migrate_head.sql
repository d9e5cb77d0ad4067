do $migrate$
begin
    perform pg_advisory_xact_lock(126879430437993);
    create schema if not exists sekali;
    create table if not exists sekali.schema_migrations (version bigint primary key, applied_at timestamptz not null);
