-- The oldest $1 answers, of those that are a day old.
with old as (
    delete from sekali.answers where key in (
        select key from sekali.answers where answered_at <= clock_timestamp() - interval '1 day'
        order by answered_at limit $1
    )
    returning key
)
select count(*) from old
