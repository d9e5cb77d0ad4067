insert into sekali.sections
select through, first.micros, last.micros from sekali_0_2.sections
left join lateral sekali_0_2.micros(earliest) as first on earliest is not null
left join lateral sekali_0_2.micros(latest) as last on latest is not null
