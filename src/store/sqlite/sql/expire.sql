-- Deleting leaves the identity: see the trigger keep_identity.
delete from events where seq > (select expired_through from upkeep) and seq <= ?1 and gone is null
