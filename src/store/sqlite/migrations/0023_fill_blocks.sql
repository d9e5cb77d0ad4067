insert into blocks (through, earliest, latest)
select (seq + 511) / 512 * 512, min(timestamp), max(timestamp) from events
where seq <= (select max(seq) / 512 * 512 from events)
group by 1
