-- The number of topics: counting them takes as long as there are many, and a producer waits for it.
alter table upkeep add column topics integer not null default 0
