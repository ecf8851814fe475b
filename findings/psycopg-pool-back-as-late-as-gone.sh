#!/bin/sh
# Guess: once PostgreSQL is back after an outage, a pool has connections again within seconds: the pause between two
# attempts has a small maximum, and a client that waits for a connection makes the pool try at once.
#
# Seen: the pauses double without a maximum of their own (1, 2, 4, 8 … s, to the end of reconnect_timeout, by default 300 s),
# so the pool comes back as long after the server as the server had been away: after two minutes without PostgreSQL perhaps
# two more. Clients that wait for a connection change nothing about it: a dozen of them in the pause of 8 s cause no attempt.
# A small reconnect_timeout does not shorten it by itself, either: then the pool gives up, and what tries again is the next
# client (with reconnect_timeout=2 the attempts follow the clients).
#
# Why it matters here: "recovers within 10 s after the database is back" holds in every test with an outage of some seconds and
# fails in production with one of minutes.
#
# Source: psycopg_pool, class ConnectionAttempt (DELAY_BACKOFF = 2.0; the delay is cut at the time of giving up only);
# the documentation of reconnect_timeout says "exponential backoff" and no maximum.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install psycopg-pool==3.3.3 'psycopg[binary]==3.3.6'

"$folder/venv/bin/python" - <<'PY'
import logging
import socket
import sys
import threading
import time
from importlib.metadata import version

from psycopg_pool import ConnectionPool, PoolTimeout

logging.disable(logging.CRITICAL)


class Away:
    """A server that ends every connection at once: `attempts` are the seconds at which one came."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.attempts = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            connection, _ = self.socket.accept()
            self.attempts.append(time.monotonic())
            connection.close()


def attempts(seconds, clients_from, **options):
    """When the pool tried to connect in so many seconds; each half second from then on a client waits for a connection."""
    away = Away()
    address = f"host=127.0.0.1 port={away.port} user=u dbname=d sslmode=disable gssencmode=disable"
    began = time.monotonic()
    with ConnectionPool(address, min_size=1, max_size=1, open=True, **options) as pool:
        while time.monotonic() < began + seconds:
            if time.monotonic() < began + clients_from:
                time.sleep(0.1)
                continue
            try:
                pool.getconn(timeout=0.5)
            except PoolTimeout:
                pass
    return [round(at - away.attempts[0], 1) for at in away.attempts]


print("psycopg_pool", version("psycopg_pool"))
patient = attempts(14, clients_from=8)
print("attempts after, with clients waiting from 8 s on:", patient, "s")
short = attempts(10, clients_from=5, reconnect_timeout=2)
print("the same with reconnect_timeout=2, clients from 5 s on:", short, "s")
gaps = [later - earlier for earlier, later in zip(patient, patient[1:])]
doubling = len(gaps) == 3 and all(1.5 < b / a < 2.6 for a, b in zip(gaps, gaps[1:]))
if not doubling or patient[-1] > 8.5:
    sys.exit("behaviour has changed")
if not any(at > 5 for at in short) or any(3.5 < at < 4.8 for at in short):
    sys.exit("behaviour has changed")
PY
