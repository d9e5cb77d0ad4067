-- Those in which an event can be read, and room for the next.
do $$
declare
    part record;
begin
    for part in
        select number from sekali_0_2.partitions
        where ((number + 1) << 20) - 1 > (select expired_through from sekali_0_2.upkeep) order by number
    loop
        perform sekali.make_partitions(part.number << 20, part.number << 20);
    end loop;
end
$$
