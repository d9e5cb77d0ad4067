-- The partitions of events: number n has the seqs from n * partition_size() on, up to the next.
create table sekali.partitions (number bigint primary key)
