-- Reserves the next 2^32 seqs, and returns the last of them. Called when the database may have lost its newest events,
-- by a restore or a failover: new events must not get the seqs of the lost ones, which readers have passed.
create function sekali.reserve() returns bigint language plpgsql as $$
declare
    last bigint;
begin
    perform sekali.take_turn();
    select coalesce(max(seq), 0) + 4294967296 into last from sekali.identities;
    insert into sekali.identities (seq, topic, event_id, received_on, erased)
    values (last, '', last, (clock_timestamp() at time zone 'utc')::date, true);
    perform sekali.place_here();
    update sekali.upkeep set due_at = '-infinity';
    return last;
end
$$
