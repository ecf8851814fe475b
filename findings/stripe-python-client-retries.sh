#!/bin/sh
# Guess: stripe.StripeClient(key), the recommended way to call Stripe, retries as often as the module-level calls do:
# stripe.max_network_retries, which is 2.
#
# Seen: a StripeClient without max_network_retries sends a request once. One answer 500 is final, while
# stripe.Customer.retrieve() survives two of them. stripe.max_network_retries is not consulted by a client.
#
# Why it matters here: moving from module-level calls to StripeClient removes every retry without a word, and the first
# brief fault on a home line becomes a failed purchase.
#
# Source: stripe._stripe_client, StripeClient.__init__(max_network_retries=None) against
# stripe._requestor_options, _GlobalRequestorOptions; stripe._http_client, _should_retry() reads None as 0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install stripe==16.1.0

"$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import stripe

requests = 0


class Handler(BaseHTTPRequestHandler):
    """Answers 500 to the first two requests, then with the customer."""

    def do_GET(self):
        global requests
        requests += 1
        body = json.dumps({"error": {}} if requests < 3 else {"id": "cus_1", "object": "customer"}).encode()
        self.send_response(500 if requests < 3 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
stripe.api_key = "sk_test_example"
stripe.api_base = f"http://127.0.0.1:{server.server_port}"


def attempt(retrieve):
    global requests
    requests = 0
    try:
        return retrieve("cus_1").id, requests
    except stripe.APIError as error:
        return type(error).__name__, requests


client = stripe.StripeClient(stripe.api_key, base_addresses={"api": stripe.api_base})
seen = {
    "stripe.Customer": attempt(stripe.Customer.retrieve),
    "StripeClient": attempt(client.v1.customers.retrieve),
}
print("stripe", stripe.VERSION, "with stripe.max_network_retries", stripe.max_network_retries)
for name, (result, sent) in seen.items():
    print(f"{name:16} {result} after {sent} request(s)")

if seen != {"stripe.Customer": ("cus_1", 3), "StripeClient": ("APIError", 1)}:
    sys.exit("behaviour has changed")
PY
