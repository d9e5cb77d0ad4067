# A producer as those of FastAPI services are: times without an offset, events one by one and in batches, and a known
# share of duplicates. It knows the answers of its old service only.
#
#     python old_producer.py http://127.0.0.1:3000
import json
import random
import sys
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

BASE = sys.argv[1]


def event(n):
    return {
        "topic": f"topic-{n % 5}",
        "event_id": str(uuid.uuid4()),
        "timestamp": datetime(2026, 1, 1, n % 24, n % 60, 0, n % 1000).isoformat(),
        "source": "old-producer",
        "payload": {"n": n, "message": "héllo", "nested": {"list": [1, 2.5, None]}},
    }


def post(body):
    request = urllib.request.Request(f"{BASE}/publish", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 200
        return json.load(response)


def get(path):
    with urllib.request.urlopen(BASE + path) as response:
        return json.load(response)


def deliveries(total, duplicates):
    unique = [event(n) for n in range(int(total * (1 - duplicates)))]
    again = [random.choice(unique) for _ in range(total - len(unique))]
    mixed = unique + again
    random.shuffle(mixed)
    return mixed, len(unique)


before = get("/stats")

# One batch of 5,000 with 20 % duplicates.
batch, unique = deliveries(5_000, 0.2)
answer = post(batch)
assert answer["total_received"] == 5_000
assert len(answer["processed"]) == unique
assert len(answer["duplicate_ids"]) == 5_000 - unique

# 20,000 with 30 %, by eight clients.
many, more = deliveries(20_000, 0.3)
with ThreadPoolExecutor(8) as clients:
    answers = list(clients.map(post, [many[start : start + 50] for start in range(0, len(many), 50)]))
assert sum(len(answer["processed"]) for answer in answers) == more

# And one by one.
alone = event(1)
assert post(alone)["processed"] == [alone["event_id"]]
assert post(alone)["processed"] == []

stats = get("/stats")
assert stats["received"] - before["received"] == 25_002
assert stats["unique_processed"] - before["unique_processed"] == unique + more + 1
assert stats["duplicate_dropped"] - before["duplicate_dropped"] == 25_002 - unique - more - 1
assert set(stats["topics"]) >= {f"topic-{n}" for n in range(5)}
assert isinstance(stats["uptime"], int)

events = get("/events?topic=topic-1")
stored = next(found for found in events if found["event_id"] == alone["event_id"])
assert stored["payload"] == alone["payload"] and stored["source"] == "old-producer"
assert stored["timestamp"].startswith(alone["timestamp"][:19])
