-- The same of each 128 blocks, which are passed over together.
create table sections (through integer primary key, earliest text, latest text)
