create index identities_erased on sekali.identities (seq) where erased
