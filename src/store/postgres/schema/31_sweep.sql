-- Removes the rows of some events that have expired, from a partition that still lives. Most partitions are dropped as a
-- whole soon after their first events have expired, so it begins with those that expired twenty minutes ago.
create function sekali.sweep(most bigint, out swept_now bigint, out has_more boolean) language plpgsql
set plan_cache_mode = force_custom_plan -- of the partitions, only those of the seqs are looked at
set lock_timeout = '1s'
as $$
declare
    state record;
    upto bigint;
begin
    select * into state from sekali.upkeep for update;
    swept_now := 0;
    if state.swept_through >= state.sweep_through and state.sweep_at <= clock_timestamp() - interval '20 minutes' then
        update sekali.upkeep
        set sweep_through = sweep_next, sweep_next = expired_through, sweep_at = clock_timestamp()
        returning * into state;
    end if;
    has_more := state.swept_through < state.sweep_through;
    if not has_more then
        return;
    end if;
    select coalesce(max(seq), state.sweep_through) into upto from (
        select seq from sekali.identities
        where seq > state.swept_through and seq <= state.sweep_through order by seq limit most
    ) as next;
    delete from sekali.rivals where seq <= upto;
    delete from sekali.events where seq > state.swept_through and seq <= upto;
    get diagnostics swept_now = row_count;
    update sekali.upkeep set swept_through = upto;
    has_more := upto < state.sweep_through;
end
$$
