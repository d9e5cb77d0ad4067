update sekali.upkeep set
    expired_through = before.expired_through,
    swept_through = before.expired_through,
    sweep_through = before.expired_through,
    sweep_next = before.expired_through,
    topics = (select count(*) from sekali.topics)
from sekali_0_2.upkeep as before
