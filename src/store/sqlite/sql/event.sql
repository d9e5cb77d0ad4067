-- An event as one JSON object, without the brace that ends it. Its parts are valid JSON by construction.
'{"seq":' || seq
|| ',"topic":' || json_quote(topic)
|| ',"event_id":' || json_quote(event_id)
|| ',"timestamp":"' || timestamp
|| 'Z","source":' || json_quote(source)
|| ',"payload":' || payload
|| case when attributes is null then '' else ',"attributes":' || attributes end
|| ',"received_at":"' || received_at
|| 'Z","deliveries":' || deliveries
|| ',"conflicts":' || conflicts
