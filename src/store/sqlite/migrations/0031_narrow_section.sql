-- A bound of a block that was erased must not stay as a bound of its section.
create trigger narrow_section after update on blocks begin
    update sections set (earliest, latest) = (
        select min(earliest), max(latest) from blocks
        where blocks.through <= sections.through and blocks.through > coalesce(
            (select max(through) from sections as earlier where earlier.through < sections.through), 0
        )
    )
    where through = (select min(through) from sections where through >= new.through);
end
