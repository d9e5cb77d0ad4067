-- An event as one JSON object. Its parts are valid JSON by construction.
'{"seq":' || seq
|| ',"topic":' || to_json(topic)
|| ',"event_id":' || to_json(event_id)
|| ',"timestamp":"' || timestamp
|| 'Z","source":' || coalesce('"' || source || '"', 'null')
|| ',"payload":' || payload
|| coalesce(',"attributes":' || attributes, '')
|| ',"received_at":"' || received_at
|| 'Z","deliveries":' || deliveries
|| ',"conflicts":' || conflicts || '}'
