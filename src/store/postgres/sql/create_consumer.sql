-- The consumer $1 with the state $2, unless there are $3 already.
insert into sekali.consumers (name, version, state)
select $1, floor(random() * 1e18)::bigint, $2 where (select count(*) from sekali.consumers) < $3::bigint
on conflict do nothing
returning version
