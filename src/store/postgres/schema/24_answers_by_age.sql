create index answers_by_age on sekali.answers (answered_at)
