# Charges the customers of orders, each order once, however often this is killed. Python alone, no packages.
#
#   python3 examples/consume.py http://127.0.0.1:3000 accounts.db        SEKALI_TOKEN is sent if it is set
#   {"topic": "orders.web", "event_id": "order-1001", "payload": {"customer": "ann", "cents": 1250}}
import http.client
import json
import os
import socket
import sqlite3
import sys
import time
import urllib.error
import urllib.request

HEADERS = {"Content-Type": "application/json"}
if os.environ.get("SEKALI_TOKEN"):
    HEADERS["Authorization"] = "Bearer " + os.environ["SEKALI_TOKEN"]
# Each process has one of its own, and keeps it when it starts anew: then what it had claimed is its own at once.
HOLDER = os.environ.get("HOLDER") or socket.gethostname()


def call(method, url, body):
    """The status and the JSON of an answer. Every request here may be repeated, so it is asked until there is one."""
    while True:
        wait = 1
        try:
            request = urllib.request.Request(url, json.dumps(body).encode(), HEADERS, method=method)
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.loads(response.read() or "null")
        except urllib.error.HTTPError as error:
            why = error.read().decode(errors="replace")
            if "/problems/claim-lost" in why:
                return error.code, None
            # 409: another holder has the claim, and this one stands by.
            if error.code < 500 and error.code not in (408, 409, 429):
                raise SystemExit(f"{method} {url} is refused: {error.code} {why}")
            wait = min(int(error.headers.get("Retry-After") or 1), 5)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = error
        print(f"again in {wait} s: {why}", file=sys.stderr, flush=True)
        time.sleep(wait)


class Away(Exception):
    """What the effect needs is not there. That is no failure of an event: all of them would fail, and use up their attempts."""


def consume(url, name, fields, handle, settle=lambda seq: None):
    """Calls handle with each event of a consumer, for ever. One for which it raises comes again later, at longer and longer
    intervals; where it raises Away, all of them wait. settle is told the seq up to which nothing comes again by itself."""
    consumer = f"{url}/consumers/{name}"
    _, made = call("PUT", consumer, fields)
    lease = made["specification"]["lease"]
    while True:
        status, claim = call("POST", f"{consumer}/claim", {"holder": HOLDER, "limit": 10, "wait": 20})
        if status == 204:  # nothing came for 20 seconds
            continue
        done, away = work(f"{consumer}/commit", claim, lease, handle)
        status, standing = call("POST", f"{consumer}/commit", done)
        # 409: the claim has run out, and its events are given to others, which will find done what is done.
        if status == 200:
            settle(standing["settled"])
        if away:
            print(f"again in 5 s: {away!r}", file=sys.stderr, flush=True)
            time.sleep(5)


def work(commit, claim, lease, handle):
    """Returns the commit that tells what became of a claim, and the reason if it was left in the middle."""
    done = {"claim": claim["claim"], "upto": claim["from"], "failed": []}
    failed, stopped = done["failed"], set()
    extended = time.monotonic()
    for event in claim["events"]:
        # An event may take two thirds of a lease, and a claim as long as it likes.
        if time.monotonic() - extended > lease / 3:
            extended = time.monotonic()
            status, _ = call("POST", commit, {"claim": claim["claim"]})
            if status == 409:
                break  # it is another's: so will the last commit say
        if event["topic"] in stopped:
            # It was not tried: it waits for the event of its topic that failed, and no attempt is counted.
            failed.append({"seq": event["seq"]})
        else:
            try:
                handle(event)
            except Away as error:
                return {**done, "release": True}, error
            except Exception as error:
                stopped.add(event["topic"])
                failed.append({"seq": event["seq"], "reason": repr(error)})
        done["upto"] = event["seq"]
    else:
        done["upto"] = claim["to"]
    return done, None


def charge(database, event):
    """The seq is kept in the transaction of the effect, so an event that comes again is known."""
    try:
        charge_once(database, event)
    except sqlite3.OperationalError as error:  # locked, or the disk is full
        raise Away(str(error)) from error


def charge_once(database, event):
    with database:
        seen = "insert into inbox_seen (seq, seen_at) values (?, ?) on conflict do nothing"
        if database.execute(seen, [event["seq"], int(time.time())]).rowcount == 0:
            return
        order = event["payload"]
        owes = "update accounts set owed = owed + ? where customer = ?"
        if database.execute(owes, [order["cents"], order["customer"]]).rowcount == 0:
            raise ValueError(f"there is no account of {order['customer']}")


def forget(database, settled):
    """Not at once: a process that was stopped in the middle of a claim may go on after another one has done all of it."""
    with database:
        database.execute("delete from inbox_seen where seq <= ? and seen_at < ?", [settled, int(time.time()) - 86400])


if __name__ == "__main__":
    url, path = sys.argv[1:]
    database = sqlite3.connect(path, timeout=30)
    database.executescript("""
        create table if not exists accounts (customer text primary key, owed integer not null default 0);
        create table if not exists inbox_seen (seq integer primary key, seen_at integer not null);
    """)
    consume(
        url,
        "accounts",
        {"topics": ["orders.*"]},
        handle=lambda event: charge(database, event),
        settle=lambda seq: forget(database, seq),
    )
