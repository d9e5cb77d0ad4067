drop trigger count_stored
