-- Keeps the outcomes of requests with an Idempotency-Key, and removes some that are older than a day.
create function sekali.keep_answers(
    keys_given text[],
    fingerprints_given text[],
    begins_given bigint[],
    ends_given bigint[],
    moment_ms bigint,
    events bigint,
    stored_from bigint,
    dropped text
)
returns void language plpgsql as $$
begin
    delete from sekali.answers where key in (
        select key from sekali.answers
        where answered_at <= moment_ms - 86400000 order by answered_at limit 2 * cardinality(keys_given)
    );
    with not_stored as materialized (
        select (entry ->> 0)::bigint as place, (entry ->> 1)::bigint as seq,
            case when (entry ->> 2)::boolean then 2 else 1 end as status
        from json_array_elements(dropped::json) as entry
    ),
    outcome as materialized (
        select place, seq, status from not_stored
        union all
        select place, stored_from + row_number() over (order by place) - 1, 0
        from (select generate_series(1, events) as place except select place from not_stored) as stored
    )
    insert into sekali.answers (key, fingerprint, answered_at, outcomes)
    select key, fingerprint, moment_ms, coalesce(
        (
            select json_agg(json_build_array(seq, status) order by place)::text from outcome
            where place >= begins and place < ends
        ),
        '[]'
    )
    from unnest(keys_given, fingerprints_given, begins_given, ends_given)
        as request (key, fingerprint, begins, ends)
    on conflict (key) do update set
        fingerprint = excluded.fingerprint, answered_at = excluded.answered_at, outcomes = excluded.outcomes;
end
$$
