-- Of many hosts that come at the same time, one runs it; the others are told to come again, and hold no connection that
-- waits. The lock of writers keeps their hands off meanwhile.
do $migrate$
declare
    seen bigint := 0;
begin
    perform set_config('lock_timeout', '4s', true);
    if not pg_try_advisory_xact_lock(126879430437994) then
        raise exception 'another host is bringing the database up to date' using errcode = 'lock_not_available';
    end if;
    perform pg_advisory_xact_lock(126879430437993);
    if to_regclass('sekali.schema_migrations') is not null then
        select coalesce(max(version), 0) into seen from sekali.schema_migrations;
    end if;
    if seen = /* version */ then
        return;
    end if;
    if seen not in (0, /* of 0.2 */) then
        raise exception 'a host of another version has changed the schema' using errcode = 'lock_not_available';
    end if;
    if seen > 0 then
        alter schema sekali rename to sekali_0_2;
    end if;
    create schema if not exists sekali;
    create table sekali.schema_migrations (version bigint primary key, applied_at timestamptz not null);
    insert into sekali.schema_migrations values (/* version */, now());
    /* make */
    if seen > 0 then
        /* upgrade */
        drop schema sekali_0_2 cascade;
        execute 'analyze sekali.identities';
        execute 'analyze sekali.events';
    end if;
end
$migrate$
