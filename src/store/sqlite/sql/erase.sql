-- In place, so that the identity never leaves its index. Nothing is left of the event but when it was received.
update events
set gone = 'erased', timestamp = '', source = null, payload = '', attributes = null, digest = 0,
    rival = null
where seq in (/* seqs */) and gone is null
