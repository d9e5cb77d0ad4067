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
$$
