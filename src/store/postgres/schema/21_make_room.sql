-- The same ahead of need, and without waiting: an ANALYZE of the events, say, keeps a partition from being attached. Then
-- it is tried again a while later.
create function sekali.make_room(first_seq bigint, last_seq bigint) returns void language plpgsql
set lock_timeout = '50ms'
as $$
begin
    perform sekali.make_partitions(first_seq, last_seq);
exception
    when lock_not_available then
        update sekali.upkeep set room_retry = first_seq + sekali.partition_size() / 128;
end
$$
