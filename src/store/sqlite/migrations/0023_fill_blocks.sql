insert into blocks (through, earliest, latest)
select (seq + 2047) / 2048 * 2048, min(timestamp), max(timestamp) from events
where seq <= (select max(seq) / 2048 * 2048 from events)
group by 1
