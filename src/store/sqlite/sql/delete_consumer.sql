-- A trigger takes its failures away.
delete from consumers where name = ?1 returning version
