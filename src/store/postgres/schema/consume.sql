-- True on a server that takes writes; an error on a replica, which may not know what is newest.
create function sekali.is_primary() returns boolean language plpgsql as $$
begin
    if pg_is_in_recovery() then
        raise exception 'the server is a replica' using errcode = 'read_only_sql_transaction';
    end if;
    return true;
end
$$;

-- One change of a consumer: all of it, if the consumer is of the version that it was made for. Returns whether it was.
create function sekali.change_consumer(
    name_given text,
    version_given bigint,
    new_version bigint,
    state_given text,
    is_claim bigint,        -- 1 if the server may lose it when it loses power: what was claimed is given out again then
    clears bigint,          -- 1 if all failures of before go
    removed_given bigint[], -- the seqs of those that go
    kept_given text,        -- a JSON array of those that are new or have changed
    topics_given text[],    -- events that are stored, as append() takes them
    ids_given text[],
    payloads_given text[],
    digests_given bigint[]
)
returns bigint language plpgsql
set lock_timeout = '1s'
as $$
declare
    events integer := cardinality(topics_given);
begin
    if is_claim = 1 then
        perform set_config('synchronous_commit', 'off', true);
    end if;
    update sekali.consumers set version = new_version, state = state_given
    where name = name_given and version = version_given;
    if not found then
        return 0;
    end if;
    delete from sekali.failures where consumer = name_given and (clears = 1 or seq = any(removed_given));
    insert into sekali.failures
    select
        name_given, seq, lane, topic, event_id, (state = 'dead')::integer, attempts, due_at, reason, first_failed_at,
        last_failed_at
    from json_to_recordset(kept_given::json) as kept (
        seq bigint, lane text, topic text, event_id text, state text, attempts bigint, due_at bigint, reason text,
        first_failed_at bigint, last_failed_at bigint
    )
    on conflict (consumer, seq) do update set
        (lane, topic, event_id, dead, attempts, due_at, reason, first_failed_at, last_failed_at) = (
            excluded.lane, excluded.topic, excluded.event_id, excluded.dead, excluded.attempts, excluded.due_at,
            excluded.reason, excluded.first_failed_at, excluded.last_failed_at
        );
    if events > 0 then
        perform sekali.append(
            topics_given, ids_given, array_fill(null::bigint, array[events]), array_fill(null::bigint, array[events]),
            array_fill(null::text, array[events]), payloads_given, array_fill(null::text, array[events]), digests_given,
            array(select generate_series(1, events)::bigint), '{}', '{}', '{}', '{}'
        );
    end if;
    return 1;
end
$$;
