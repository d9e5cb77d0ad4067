-- All consumers as a JSON array, and the present moment.
select
    (
        select json_group_array(json_object('name', name, 'version', version, 'state', state))
        from (select * from consumers order by name)
    ),
    cast(unixepoch('subsec') * 1000 as integer)
