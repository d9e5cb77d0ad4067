update upkeep set topics = (select count(*) from topics)
