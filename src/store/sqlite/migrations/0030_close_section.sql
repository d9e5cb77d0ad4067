create trigger close_section after insert on blocks when new.through & 65535 = 0 begin
    insert into sections (through, earliest, latest)
    select new.through, min(earliest), max(latest) from blocks
    where through > (select coalesce(max(through), 0) from sections) and through <= new.through;
end
