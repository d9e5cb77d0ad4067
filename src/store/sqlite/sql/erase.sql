-- As erase_event.sql, for the first ?3 matches after ?1 and up to ?2.
update events
set gone = 'erased', timestamp = '', source = null, payload = '', attributes = null, digest = 0
where seq in (/* matching */ limit ?3)
