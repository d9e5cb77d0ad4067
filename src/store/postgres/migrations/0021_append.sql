-- One write: stores the new events of a group and counts all of them, in one call and so in one transaction. As a
-- function it is planned once a session, also where a host prepares no statements, and each statement in it sees what
-- was committed before that statement, not before the call.
create function sekali.append(
    topics_given text[],
    ids_given text[],
    timestamps_given text[],
    sources_given text[],
    payloads_given text[],
    attributes_given text[],
    digests_given bigint[],
    firsts_given bigint[],      -- the place of the first event of the same identity in the group; places begin at 1
    moment text,                -- of receipt
    keys_given text[],          -- Idempotency-Keys of requests, and their fingerprints
    fingerprints_given text[],
    begins_given bigint[],      -- the places of the events of each such request: from one up to the place before another
    ends_given bigint[],
    moment_ms bigint,           -- of receipt, in milliseconds since 1970
    out repeated text,          -- a JSON array of those keys that are known already: then nothing was done
    out stored_from bigint,     -- the seq of the first event that was stored; the others follow it, in their order
    out dropped text            -- a JSON array of [place, seq, whether it conflicts] of the events that were not
)
language plpgsql
-- Whatever the tables were when a session planned it: by index. The cost of what is off would let it compile each plan,
-- which takes 30 ms a call.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set lock_timeout = '4s'
as $$
declare
    last bigint;
    expired bigint;
    known_timeline text;
    room_from bigint;
    room_through bigint;
    stored bigint;
    given_events bigint := cardinality(topics_given);
begin
    -- Writers take turns, each until what it wrote is committed and visible. So seq is a commit order: no reader ever
    -- sees a seq before a lower one. A sequence has not this property. It also means that no two of them deadlock.
    perform pg_advisory_xact_lock(126879430437993);

    if cardinality(keys_given) > 0 then
        select to_json(array_agg(key)) into repeated from sekali.answers
        where key = any(keys_given) and answered_at > moment_ms - 86400000;
        if repeated is not null then
            return;
        end if;
    end if;

    select
        coalesce((select max(seq) from sekali.identities), 0), upkeep.expired_through, upkeep.timeline,
        upkeep.room_from, upkeep.room_through
    into last, expired, known_timeline, room_from, room_through from sekali.upkeep;
    -- The first write after a failover or a restore to a point in time: see reserve().
    if known_timeline <> left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) then
        last := sekali.reserve();
    end if;
    -- Half a partition ahead, so that the one in use is never missing.
    if last < room_from or last + given_events + 524288 > room_through then
        perform sekali.make_partitions(last + 1, last + given_events + 524288);
    end if;

    with given as materialized (
        select * from unnest(
            topics_given, ids_given, timestamps_given, sources_given, payloads_given, attributes_given, digests_given,
            firsts_given
        ) with ordinality as given (topic, event_id, timestamp, source, payload, attributes, digest, first, place)
    ),
    new as materialized (
        select last + row_number() over (order by place) as new_seq, given.* from given
        where first = place and not exists (
            select from sekali.identities as known
            where known.topic = given.topic and known.event_id = given.event_id
        )
    ),
    identified as (
        insert into sekali.identities (seq, topic, event_id, received_on)
        select new_seq, topic, event_id, moment::date from new
    )
    insert into sekali.events
        (seq, topic, event_id, timestamp, source, payload, attributes, digest, received_at)
    select
        new_seq, topic, event_id, coalesce(timestamp, moment), source, payload, attributes, digest, moment
    from new;
    get diagnostics stored = row_count;
    stored_from := last + 1;

    if stored > 0 then
        insert into sekali.topics as account
            (name, unique_processed, duplicate_dropped, conflicts, last_seq, last_received_at)
        select topic, count(*), 0, 0, max(seq), moment from sekali.identities where seq > last group by topic
        on conflict (name) do update set
            unique_processed = account.unique_processed + excluded.unique_processed,
            last_seq = excluded.last_seq,
            last_received_at = excluded.last_received_at;
        if last / 512 < (last + stored) / 512 then
            perform sekali.close_blocks(last, last + stored);
        end if;
    end if;

    if stored < given_events then
        with not_stored as materialized (
            select
                place, known.seq, topic,
                -- Nobody can tell whether a payload differs from one that is gone.
                coalesce((
                    select stored.digest <> given.digest from sekali.events as stored
                    where stored.seq = known.seq and stored.seq > expired
                ), false) as conflicts
            from unnest(topics_given, ids_given, digests_given, firsts_given)
                with ordinality as given (topic, event_id, digest, first, place)
            join sekali.identities as known using (topic, event_id)
            where first < place or known.seq <= last
        ),
        counted as (
            update sekali.events as known set
                deliveries = known.deliveries + again.count,
                conflicts = known.conflicts + again.conflicts,
                redelivered_at = moment
            from (
                select seq, count(*), count(*) filter (where conflicts) as conflicts from not_stored group by seq
            ) as again
            where known.seq = again.seq
        ),
        accounts as (
            update sekali.topics as account set
                duplicate_dropped = account.duplicate_dropped + again.count,
                conflicts = account.conflicts + again.conflicts,
                last_received_at = moment
            from (
                select topic, count(*), count(*) filter (where conflicts) as conflicts from not_stored group by topic
            ) as again
            where account.name = again.topic
        )
        select json_agg(json_build_array(place, seq, conflicts) order by place) into dropped from not_stored;
    end if;

    if cardinality(keys_given) > 0 then
        perform sekali.keep_answers(
            keys_given, fingerprints_given, begins_given, ends_given, moment_ms, given_events, stored_from, dropped
        );
    end if;
end
$$
