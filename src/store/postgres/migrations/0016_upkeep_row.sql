insert into sekali.upkeep (id, expired_through, due_at, cluster, timeline)
values (1, 0, '', sekali.cluster(), sekali.timeline())
