-- The number of entries of an index, up to ?3. ?1 and ?2 are the span, or that of its partitions.
select
    (select count(*) from (select 1 from /* entries */ limit ?3) as entry),
    (select max(seq) from {identities})
