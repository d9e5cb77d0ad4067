-- Its failures go with it.
delete from sekali.consumers where name = $1 returning version
