# Tells another service of each order, by HTTP: it does each once, because the same event has the same key for ever.
#
#   python3 examples/notify.py http://127.0.0.1:3000 https://mail.example/send
import json
import sys
import urllib.error
import urllib.request

from consume import Away, consume

url, endpoint = sys.argv[1:]


def notify(event):
    # Without a timeout, or with a longer one than two thirds of the lease, the claim would run out meanwhile.
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"mails-{event['seq']}"}
    request = urllib.request.Request(endpoint, json.dumps(event["payload"]).encode(), headers)
    try:
        urllib.request.urlopen(request, timeout=15).close()
    except urllib.error.HTTPError as error:
        if error.code in (408, 429, 502, 503, 504):
            raise Away(str(error)) from error
        raise
    except OSError as error:  # no connection, or no answer in time
        raise Away(str(error)) from error


consume(url, "mails", {"topics": ["orders.*"]}, notify)
