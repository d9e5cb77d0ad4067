# Makes an invoice of each order, an event of the same service: stored once, because its id is made of the order's seq.
#
#   python3 examples/derive.py http://127.0.0.1:3000
import sys

from consume import call, consume

url = sys.argv[1]


def derive(order):
    # All of it depends on the order alone. What depends on the moment would be a conflict when it comes again.
    invoice = {
        "topic": "invoices",
        "event_id": f"invoices-{order['seq']}",
        "timestamp": order["timestamp"],
        "payload": {**order["payload"], "order": order["event_id"]},
    }
    call("POST", f"{url}/publish", invoice)


consume(url, "invoices", {"topics": ["orders.*"]}, derive)
