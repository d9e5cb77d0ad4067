-- The lanes of the consumer ?1 that have held failures.
select count(distinct lane) from failures where consumer = ?1 and dead = 0
