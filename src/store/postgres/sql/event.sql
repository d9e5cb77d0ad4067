-- An event as one JSON object, without the brace that ends it. Its parts are valid JSON by construction.
'{"seq":' || seq
|| ',"topic":' || to_json(topic)
|| ',"event_id":' || to_json(event_id)
|| ',"timestamp":"' || sekali.moment(timestamp, nanos)
|| 'Z","source":' || coalesce('"' || source || '"', 'null')
|| ',"payload":' || payload
|| coalesce(',"attributes":' || attributes, '')
|| ',"received_at":"' || sekali.moment(received_at, null)
|| 'Z","deliveries":' || coalesce(deliveries, 1)
|| ',"conflicts":' || coalesce(conflicts, 0)
