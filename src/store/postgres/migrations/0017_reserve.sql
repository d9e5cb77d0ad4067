-- Reserves the next 2^32 seqs, and returns the last of them. Called when the database may have lost its newest events,
-- by a restore or a failover: new events must not get the seqs of the lost ones, which readers have passed.
create function sekali.reserve() returns bigint language plpgsql as $$
declare
    last bigint;
begin
    perform pg_advisory_xact_lock(126879430437993);
    select coalesce(max(seq), 0) + 4294967296 into last from sekali.identities;
    insert into sekali.identities (seq, topic, event_id, received_on, erased)
    values (last, '', last, (now() at time zone 'utc')::date, true);
    update sekali.upkeep set cluster = sekali.cluster(), timeline = sekali.timeline(), due_at = '';
    return last;
end
$$
