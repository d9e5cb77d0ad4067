-- 1 if the totals of this minute are kept already.
select count(*) from (select floor(extract(epoch from clock_timestamp()) / 60)::bigint as minute) as present
join sekali.history as kept on kept.slot = present.minute % 1440 and kept.minute = present.minute
