select sekali.erase(array(select seq from sekali.identities where topic = $1 and event_id = $2))
