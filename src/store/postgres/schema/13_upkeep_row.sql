insert into sekali.upkeep values (1, 0, '-infinity', 0, -1, 0, 0, 0, 0, now(), 0, 0)
