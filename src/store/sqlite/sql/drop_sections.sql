delete from sections where through <= ?1
