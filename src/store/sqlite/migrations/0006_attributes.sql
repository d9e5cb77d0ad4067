-- What a CloudEvent says of itself beside the columns: a JSON object, or null.
alter table events add column attributes text
