(lane, state, seq) in (
    select lane, state, min(seq) from {schema}failures
    where consumer = ?1 and state <> 'dead' and /* of lanes */ and not /* of seqs */ group by lane, state
)