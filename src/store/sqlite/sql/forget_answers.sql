-- The oldest ?1 answers, of those that are a day old.
delete from answers where rowid in (select rowid from answers order by rowid limit ?1)
    and answered_at <= unixepoch() - 86400
