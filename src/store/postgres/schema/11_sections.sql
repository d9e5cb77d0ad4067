-- The same of each 128 blocks, which are passed over together.
create table sekali.sections (through bigint primary key, earliest bigint, latest bigint)
