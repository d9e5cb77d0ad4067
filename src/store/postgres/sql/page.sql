-- A page of the matching events: at most $3, and it ends with the event that reaches $4 bytes of payload and
-- attributes, so that any page is bounded. Their texts are joined to one row, because each row costs time.
select
    string_agg(/* event */ || '}', /* separator */ order by seq /* order */), /* last */(seq), count(*),
    (select max(seq) from sekali.identities)
from (
    select *, sum(octet_length(payload) + coalesce(octet_length(attributes), 0)) over (
        order by seq /* order */ rows between unbounded preceding and 1 preceding
    ) as bytes_before
    from (/* rows */) as row
) as measured
join (select seq, event_id, deliveries, conflicts from sekali.identities) as known using (seq)
where coalesce(bytes_before, 0) < $4
