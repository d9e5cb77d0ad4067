-- The number of events of a filter's time, up to ?3, in the partitions of the span of ?1 and ?2.
select
    (select count(*) from (select 1 from /* entries */ limit ?3) as entry),
    (select max(seq) from {identities})
