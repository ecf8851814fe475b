#!/bin/sh
# Guess: with max_network_retries=2 the Stripe SDK waits and retries when Stripe answers 429 (too many requests), and
# where the answer has Retry-After it waits for as long as that says.
#
# Seen, in Python and in Node: 429 is never retried, RateLimitError comes after one request, Retry-After or not. What is
# retried is 409 and 5xx. There Retry-After is ignored too: an answer 503 with Retry-After: 4 is followed by the next
# request after half a second. Only Stripe-Should-Retry overrides these rules; lock timeouts are its use.
#
# Why it matters here: many routers on one account share its rate limit. Code that relies on the SDK fails at once where
# waiting a second would do, so pacing and Retry-After have to be the caller's own.
#
# Source: stripe._http_client, _should_retry() and _sleep_time_seconds(); stripe-node's RequestSender and its changelog
# ("Remove unused Retry-After header support", #2781).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install stripe==16.1.0
npm install --silent --no-audit --no-fund --prefix "$folder" stripe@23.1.0

cat > "$folder/attempt.mjs" <<'JS'
import process from 'node:process';
import Stripe from 'stripe';

const stripe = new Stripe('sk_test_example', {
	host: '127.0.0.1',
	port: Number(process.argv[2]),
	protocol: 'http',
	maxNetworkRetries: 2,
});
await stripe.customers.retrieve('cus_1').then(
	(customer) => console.log(customer.id),
	(error) => console.log(error.constructor.name),
);
JS

NODE_SCRIPT="$folder/attempt.mjs" "$folder/venv/bin/python" - <<'PY'
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import stripe

first = (429, {})
times = []


class Handler(BaseHTTPRequestHandler):
    """Answers the first request with what `first` says, every other one with the customer."""

    def do_GET(self):
        times.append(time.monotonic())
        status, headers = first if len(times) == 1 else (200, {})
        body = json.dumps({"id": "cus_1", "object": "customer"} if status == 200 else {"error": {}}).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = stripe.StripeClient(
    "sk_test_example",
    base_addresses={"api": f"http://127.0.0.1:{server.server_port}"},
    http_client=stripe.RequestsClient(),
    max_network_retries=2,
)


def python():
    try:
        return client.v1.customers.retrieve("cus_1").id
    except stripe.StripeError as error:
        return type(error).__name__


def node():
    command = ["node", os.environ["NODE_SCRIPT"], str(server.server_port)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


print("stripe-python", stripe.VERSION, "and stripe-node 23.1.0, two retries allowed")
changed = False
for first, final in [
    ((429, {"Retry-After": "4"}), True),
    ((429, {"Stripe-Should-Retry": "true"}), False),
    ((409, {}), False),
    ((503, {"Retry-After": "4"}), False),
]:
    for attempt in (python, node):
        times.clear()
        result = attempt()
        waited = times[-1] - times[0]
        print(f"{first[0]} {first[1]!s:32} {attempt.__name__:6} {result:20} {len(times)} request(s), waited {waited:.1f} s")
        changed = changed or len(times) != (1 if final else 2) or waited >= 3
if changed:
    sys.exit("behaviour has changed")
PY
