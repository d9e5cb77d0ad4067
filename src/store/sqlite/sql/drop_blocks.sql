-- The blocks up to ?1, of whose events none can be read.
delete from blocks where through <= ?1
