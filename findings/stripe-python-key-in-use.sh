#!/bin/sh
# Guess: when two requests with one idempotency key overlap, Stripe answers the later one with 409, type
# idempotency_error, code idempotency_key_in_use, and the SDK raises stripe.IdempotencyError for it.
#
# Seen: it raises stripe.APIError, the class that stands for a 500 of Stripe's. The same body raises IdempotencyError only
# with the status 400 or 404, that is for a key that was used with other parameters. So does the SDK for Node: its
# StripeIdempotencyError comes for a 400, StripeAPIError for the 409.
#
# Why it matters here: the two need opposite reactions. A key in use is to be waited for, with the same key, or the refund
# is made twice; a key with other parameters never works again. `except IdempotencyError` catches only the second one.
#
# Source: https://github.com/stripe/stripe-python, stripe/_api_requestor.py, specific_v1_api_error(), looks at the type
# for 400 and 404 alone; https://docs.stripe.com/error-codes (idempotency_key_in_use).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install stripe==16.1.0
npm install --silent --no-audit --no-fund --prefix "$folder" stripe@23.1.0

cat > "$folder/server.py" <<'PY'
"""Answers /v1/customers/STATUS with that status and the error of a key that is in use."""
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

BODY = json.dumps({"error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "in use"}}).encode()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PY
mkfifo "$folder/port"
python3 "$folder/server.py" > "$folder/port" &
server=$!
trap 'kill $server; rm -rf "$folder"' EXIT
read -r port < "$folder/port"

PORT=$port "$folder/venv/bin/python" - <<'PY'
import os
import sys

import stripe

client = stripe.StripeClient(
    "sk_test_example", base_addresses={"api": f"http://127.0.0.1:{os.environ['PORT']}"}, max_network_retries=0
)
seen = {}
for status in (400, 409, 500):
    try:
        client.v1.customers.update(str(status), {"name": "x"})
    except stripe.StripeError as error:
        seen[status] = type(error).__name__
print("stripe-python", stripe.VERSION, seen)
if seen != {400: "IdempotencyError", 409: "APIError", 500: "APIError"}:
    sys.exit("behaviour has changed")
PY

cat > "$folder/key.mjs" <<'JS'
import process from 'node:process';
import Stripe from 'stripe';

const port = process.env.PORT;
const stripe = new Stripe('sk_test_example', { host: '127.0.0.1', port, protocol: 'http', maxNetworkRetries: 0 });
const seen = [];
for (const status of [400, 409])
	seen.push(await stripe.customers.update(String(status), { name: 'x' }).catch((error) => error.constructor.name));
console.log('stripe-node', Stripe.PACKAGE_VERSION, seen.join(' '));
if (seen.join() !== 'StripeIdempotencyError,StripeAPIError') {
	console.error('behaviour has changed');
	process.exit(1);
}
JS
PORT=$port node "$folder/key.mjs"
