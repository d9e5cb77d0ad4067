-- Closes the blocks and sections that end with one of some new seqs.
create function sekali.close_blocks(after_seq bigint, last_seq bigint) returns void language plpgsql
set plan_cache_mode = force_custom_plan -- of the partitions, only those of the seqs are looked at
as $$
declare
    closing bigint := (after_seq / 512 + 1) * 512;
    opened bigint;
begin
    while closing <= last_seq loop
        -- Behind the block before it, which is far away if seqs were reserved.
        select coalesce(max(through), 0) into opened from sekali.blocks;
        -- Materialized: else each bound is looked for from the end of the index on timestamps.
        with event as materialized (select timestamp from sekali.events where seq > opened and seq <= closing)
        insert into sekali.blocks (through, earliest, latest) select closing, min(timestamp), max(timestamp) from event;
        if closing % 65536 = 0 then
            insert into sekali.sections (through, earliest, latest)
            select closing, min(earliest), max(latest) from sekali.blocks
            where through > coalesce((select max(through) from sekali.sections), 0) and through <= closing;
        end if;
        closing := closing + 512;
    end loop;
end
$$;

-- Keeps the outcomes of requests with an Idempotency-Key. The places of what was not stored come with their seqs and
-- statuses; what was stored has the seqs from stored_from on, in the order of the other places.
create function sekali.keep_answers(
    keys_given text[],
    fingerprints_given text[],
    begins_given bigint[],
    ends_given bigint[],
    events bigint,
    stored_from bigint,
    dropped_places bigint[],
    dropped_seqs bigint[],
    dropped_statuses bigint[]
)
returns void language plpgsql as $$
declare
    seqs bigint[] := array_fill(null::bigint, array[events::integer]);
    statuses bigint[] := array_fill(0::bigint, array[events::integer]);
    dropped integer := 1;
    next_seq bigint := stored_from;
begin
    for place in 1..events loop
        if dropped_places[dropped] = place then
            seqs[place] := dropped_seqs[dropped];
            statuses[place] := dropped_statuses[dropped];
            dropped := dropped + 1;
        else
            seqs[place] := next_seq;
            next_seq := next_seq + 1;
        end if;
    end loop;
    insert into sekali.answers (key, fingerprint, answered_at, outcomes)
    select key, fingerprint, clock_timestamp(), coalesce(
        (
            select json_agg(json_build_array(seq, status) order by place)::text
            from unnest(seqs[begins : ends - 1], statuses[begins : ends - 1])
                with ordinality as outcome (seq, status, place)
        ),
        '[]'
    )
    from unnest(keys_given, fingerprints_given, begins_given, ends_given)
        as request (key, fingerprint, begins, ends)
    on conflict (key) do update set
        fingerprint = excluded.fingerprint, answered_at = excluded.answered_at, outcomes = excluded.outcomes;
end
$$;

-- One write: stores the new events of a group and counts all of them, in one call and so in one transaction. As a
-- function it is planned once a session, also where a host prepares no statements, and each statement in it sees what
-- was committed before that statement, not before the call. Of the events it only inserts.
create function sekali.append(
    topics_given text[],
    ids_given text[],
    timestamps_given bigint[],  -- null for the time of receipt
    nanos_given bigint[],
    sources_given text[],
    payloads_given text[],
    attributes_given text[],
    digests_given bigint[],
    firsts_given bigint[],      -- the place of the first event of the same identity in the group; places begin at 1
    keys_given text[],          -- Idempotency-Keys of requests, and their fingerprints
    fingerprints_given text[],
    begins_given bigint[],      -- the places of the events of each such request: from one up to the place before another
    ends_given bigint[],
    out repeated text,          -- a JSON array of those keys that are known already: then nothing was done
    out stored_from bigint,     -- the seq of the first event that was stored; the others follow it, in their order
    out dropped text            -- a JSON array of [place, seq, status] of the events that were not
)
language plpgsql
-- Whatever the tables were when a session planned it: by index. The cost of what is off would let it compile each plan,
-- which takes 30 ms a call.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set lock_timeout = '1s'
as $$
declare
    moment bigint;
    today date;
    last bigint;
    expired bigint;
    room_from bigint;
    room_through bigint;
    room_retry bigint;
    has_moved boolean;
    stored bigint;
    new_topics bigint;
    dropped_places bigint[];
    dropped_seqs bigint[];
    dropped_statuses bigint[];
    given_events bigint := cardinality(topics_given);
    ahead bigint := sekali.partition_size() / 2; -- so that the partition in use is never missing
begin
    perform sekali.take_turn();
    moment := floor(extract(epoch from clock_timestamp()) * 1000)::bigint * 1000;
    today := (clock_timestamp() at time zone 'utc')::date;

    if cardinality(keys_given) > 0 then
        select to_json(array_agg(key)) into repeated from sekali.answers
        where key = any(keys_given) and answered_at > clock_timestamp() - interval '1 day';
        if repeated is not null then
            return;
        end if;
    end if;

    select
        coalesce((select max(seq) from sekali.identities), 0), upkeep.expired_through,
        upkeep.room_from, upkeep.room_through, upkeep.room_retry, sekali.has_moved()
    into last, expired, room_from, room_through, room_retry, has_moved from sekali.upkeep;
    if has_moved then
        last := sekali.reserve();
    end if;
    if last < room_from or last + given_events > room_through then
        -- Its rows come in this transaction, too. No reader may have planned without it and see them missing.
        lock table sekali.events in access exclusive mode;
        perform sekali.make_partitions(last + 1, last + given_events + ahead);
    elsif last + given_events + ahead > room_through and last >= room_retry then
        perform sekali.make_room(last + 1, last + given_events + ahead);
    end if;

    with given as materialized (
        select * from unnest(
            topics_given, ids_given, timestamps_given, nanos_given, sources_given, payloads_given, attributes_given,
            digests_given, firsts_given
        ) with ordinality as given (
            topic, event_id, timestamp, nanos, source, payload, attributes, digest, first, place
        )
    ),
    new as materialized (
        select last + row_number() over (order by place) as new_seq, given.* from given
        where first = place and not exists (
            select from sekali.identities as known
            where known.topic = given.topic and known.event_id = given.event_id
        )
    ),
    identified as (
        insert into sekali.identities (seq, digest, received_on, topic, event_id)
        select new_seq, digest, today, topic, event_id from new
    )
    insert into sekali.events (seq, timestamp, received_at, nanos, topic, source, payload, attributes)
    select new_seq, coalesce(timestamp, moment), moment, nullif(nanos, 0), topic, source, payload, attributes from new;
    get diagnostics stored = row_count;
    stored_from := last + 1;

    if stored > 0 then
        with account as (
            insert into sekali.topics as account
                (name, unique_processed, duplicate_dropped, conflicts, last_seq, last_received_at)
            select topic, count(*), 0, 0, max(seq), moment from sekali.identities where seq > last group by topic
            on conflict (name) do update set
                unique_processed = account.unique_processed + excluded.unique_processed,
                last_seq = excluded.last_seq,
                last_received_at = excluded.last_received_at
            returning xmax = 0 as is_new
        )
        select count(*) filter (where is_new) into new_topics from account;
        if new_topics > 0 then
            update sekali.upkeep set topics = topics + new_topics;
        end if;
        if last / 512 < (last + stored) / 512 then
            perform sekali.close_blocks(last, last + stored);
        end if;
    end if;

    if stored < given_events then
        with not_stored as materialized (
            select
                place, known.seq, topic, payload,
                -- Nobody can tell whether a payload differs from one that is gone.
                known.digest <> given.digest and known.seq > expired and known.erased is null as is_conflict
            from unnest(topics_given, ids_given, payloads_given, digests_given, firsts_given)
                with ordinality as given (topic, event_id, payload, digest, first, place)
            join sekali.identities as known using (topic, event_id)
            where first < place or known.seq <= last
        ),
        counted as (
            update sekali.identities as known set
                deliveries = coalesce(known.deliveries, 1) + again.count,
                conflicts = nullif(coalesce(known.conflicts, 0) + again.conflicts, 0)
            from (
                select seq, count(*), count(*) filter (where is_conflict) as conflicts from not_stored group by seq
            ) as again
            where known.seq = again.seq
        ),
        rival as (
            insert into sekali.rivals
            select distinct on (seq) seq, payload from not_stored
            where is_conflict and octet_length(payload) <= 16384 order by seq, place desc
            on conflict (seq) do update set payload = excluded.payload
        ),
        accounts as (
            update sekali.topics as account set
                duplicate_dropped = account.duplicate_dropped + again.count,
                conflicts = account.conflicts + again.conflicts,
                last_received_at = moment
            from (
                select topic, count(*), count(*) filter (where is_conflict) as conflicts from not_stored group by topic
            ) as again
            where account.name = again.topic
        ),
        outcome as (
            select place, seq, case when is_conflict then 2 else 1 end::bigint as status from not_stored
        )
        select
            json_agg(json_build_array(place, seq, status) order by place),
            array_agg(place order by place), array_agg(seq order by place), array_agg(status order by place)
        into dropped, dropped_places, dropped_seqs, dropped_statuses from outcome;
    end if;

    if cardinality(keys_given) > 0 then
        perform sekali.keep_answers(
            keys_given, fingerprints_given, begins_given, ends_given, given_events, stored_from,
            dropped_places, dropped_seqs, dropped_statuses
        );
    end if;
end
$$;
