insert into upkeep (id, expired_through, due_at) values (1, 0, '')
