-- The events of a span, which is 1 and 2, that were erased.
select count(*), (select max(seq) from {identities})
from {identities} where seq > ?1 and seq <= ?2 and {is_erased}/* and is wanted */
