-- A function, so that it is a constant to the planner, and that an experiment can have many small ones.
create function sekali.partition_size() returns bigint language sql immutable as 'select 1048576::bigint'
