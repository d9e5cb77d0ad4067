-- The partitions of events: number n has the seqs from n * 2^20 on, up to the next.
create table sekali.partitions (number bigint primary key)
