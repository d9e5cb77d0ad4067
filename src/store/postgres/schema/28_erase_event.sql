-- Erases one event; false if its identity is not known.
create function sekali.erase_event(topic_given text, id_given text) returns boolean language plpgsql as $$
declare
    known bigint;
begin
    perform sekali.take_turn();
    select seq into known from sekali.identities where topic = topic_given and event_id = id_given;
    if known is null then
        return false;
    end if;
    perform sekali.erase(array[known]);
    return true;
end
$$
