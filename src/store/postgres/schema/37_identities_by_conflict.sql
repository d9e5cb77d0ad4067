-- The events with conflicts. It costs nothing where there is none.
create index identities_by_conflict on sekali.identities (seq) where conflicts is not null
