insert into sekali.answers
select key, fingerprint, to_timestamp(answered_at / 1000.0), outcomes from sekali_0_2.answers
