-- The consumer ?1 with the state ?2, unless there are ?3 already.
insert into consumers (name, version, state)
select ?1, random(), ?2 where (select count(*) from consumers) < ?3
on conflict do nothing
returning version
