-- Takes the write lock and changes nothing. `begin immediate` would not tell: on a database that is read-only it only reads.
update upkeep set id = id where id = 0
