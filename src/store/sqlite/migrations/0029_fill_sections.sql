insert into sections (through, earliest, latest)
select (through + 65535) / 65536 * 65536, min(earliest), max(latest) from blocks
where through <= (select max(through) / 65536 * 65536 from blocks)
group by 1
