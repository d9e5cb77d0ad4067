# Publishes orders, each once, however often an attempt fails and however often this runs. Python alone, no packages.
#
#   python3 examples/produce.py http://127.0.0.1:3000 <orders      an order a line; SEKALI_TOKEN is sent if it is set
#   {"id": 1001, "paid_at": "2026-11-21T08:00:00+07:00", "total": "12.50"}
import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime

HEADERS = {"Content-Type": "application/json"}
if os.environ.get("SEKALI_TOKEN"):
    HEADERS["Authorization"] = "Bearer " + os.environ["SEKALI_TOKEN"]


def event_of(order):
    # The id says what happened, so every attempt and every run gives it the same one. A random id would have to be stored
    # with the order before the first attempt. The time is that of the order too, and not of the attempt.
    event_id = f"order-{order['id']}-paid"
    return {"topic": "orders", "event_id": event_id, "timestamp": order["paid_at"], "source": "shop", "payload": order}


def asked(value):
    """Seconds that Retry-After asks for: a number or a date. A proxy may say anything: five minutes at most."""
    try:
        seconds = float(value) if value.isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (TypeError, ValueError):
        return 0
    return min(max(seconds, 0), 300)


def publish(url, event):
    """Tries until the event is stored, or refused for a reason that another attempt would meet again."""
    body = json.dumps(event).encode()
    attempt = 0
    while True:
        wait = 0
        try:
            # Without a timeout, a connection that died silently would be waited for, for ever.
            request = urllib.request.Request(f"{url}/publish", body, HEADERS)
            with urllib.request.urlopen(request, timeout=30) as response:
                answer = json.load(response)
            # A duplicate is a success: an earlier attempt was stored, and its answer was lost on the way. A conflict is not
            # repaired by sending it again: the id belongs to other content, which stays.
            return "conflict" if answer["conflicts"] else "stored" if answer["stored"] else "duplicate"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                problem = error.read().decode(errors="replace")
                raise SystemExit(f"{event['event_id']} is refused: {error.code} {problem}")
            why, wait = error, asked(error.headers.get("Retry-After") or "")
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = error  # no answer, or half of one: the event may be stored, and its id makes it safe to ask again
        # Twice as long each time, so that a busy service recovers; and at random, so that producers do not come together.
        wait += random.uniform(0, min(30, 0.2 * 2 ** min(attempt, 8)))
        print(f"{event['event_id']}: again in {wait:.1f} s: {why}", file=sys.stderr, flush=True)
        time.sleep(wait)
        attempt += 1


for line in sys.stdin:
    event = event_of(json.loads(line))
    print(f"{event['event_id']}: {publish(sys.argv[1], event)}", flush=True)
