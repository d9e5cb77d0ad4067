"""The CloudEvents SDK posts events in structured, binary and batch mode; each is stored once."""

import json
import sys
from datetime import datetime, timezone

import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

url = sys.argv[1]


def event(id, data, **attributes):
    required = {"id": id, "source": "/sdk", "type": "sdk.test", "specversion": "1.0"}
    moment = datetime(2026, 11, 21, 1, 0, 0, 123000, tzinfo=timezone.utc)
    return CloudEvent(required | {"time": moment, "datacontenttype": "application/json"} | attributes, data)


def post(headers, body):
    answer = requests.post(f"{url}/publish", headers=headers, data=body, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def stored(id):
    answer = requests.get(f"{url}/events/sdk.test/%2Fsdk%23{id}", timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


for mode, message in [
    ("structured", to_structured_event(event("structured", {"n": 1}, subject="größe", region="eu"))),
    ("binary", to_binary_event(event("binary", {"n": 1}, subject="größe", region="eu"))),
]:
    assert post(message.headers, message.body)["stored"] == 1, mode
    assert post(message.headers, message.body)["duplicates"] == 1, mode
    found = stored(mode)
    assert found["payload"] == {"n": 1}, found
    assert found["timestamp"] == "2026-11-21T01:00:00.123Z", found
    assert found["attributes"]["subject"] == "größe" and found["attributes"]["region"] == "eu", found

binary = to_binary_event(event("bytes", b"\x00\x01\x02", datacontenttype="application/octet-stream"))
assert post(binary.headers, binary.body)["stored"] == 1
assert stored("bytes")["payload"] == "AAEC"

# The SDK has no batch: a batch is the array of its structured events.
batch = [json.loads(to_structured_event(event(f"batch-{n}", {"n": n})).body) for n in range(100)]
answer = post({"content-type": "application/cloudevents-batch+json"}, json.dumps(batch))
assert answer["stored"] == 100, answer
print("ok: the CloudEvents SDK in structured, binary and batch mode")
