-- Never back: an instance that lost its lease may come late.
update upkeep set expired_through = max(expired_through, ?1)
