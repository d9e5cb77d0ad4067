-- The cluster of this database: a copy of it elsewhere has another. Null where a service does not show it.
create function sekali.cluster() returns text language plpgsql as $$
begin
    return (select system_identifier from pg_control_system());
exception
    when others then return null;
end
$$
