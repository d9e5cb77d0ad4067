# Tells another service of each order, by HTTP: it does each once, because the same event has the same key for ever.
#
#   python3 examples/notify.py http://127.0.0.1:3000 https://mail.example/send
import json
import sys
import urllib.request

from consume import consume

url, endpoint = sys.argv[1:]


def notify(event):
    # Without a timeout, or with a longer one than the lease, the claim would run out meanwhile.
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"mails-{event['seq']}"}
    request = urllib.request.Request(endpoint, json.dumps(event["payload"]).encode(), headers)
    urllib.request.urlopen(request, timeout=15).close()


consume(url, "mails", {"topics": ["orders.*"]}, notify)
