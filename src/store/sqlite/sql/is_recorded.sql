-- 1 if the totals of this minute are kept already.
select exists (select * from history where slot = unixepoch() / 60 % 1440 and minute = unixepoch() / 60)
