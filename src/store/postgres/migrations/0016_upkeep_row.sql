insert into sekali.upkeep (id, expired_through, due_at, room_from, room_through, cluster, timeline)
values (1, 0, '', 0, -1, sekali.cluster(), sekali.timeline())
