#!/bin/sh
# Guess: an SDK that retries by itself waits for as long as the response's Retry-After says; it used to.
#
# Seen: with max_network_retries=1 a 503 with "Retry-After: 5" is followed by the next request after about half a second,
# in stripe-python 16.1.0 and stripe-node 23.1.0. Before the summer of 2026 both waited the 5 seconds (up to a minute).
# The header was taken out of the SDKs in July because Stripe itself never sends it; for a caller nothing else changed.
#
# Why it matters here: what does send it is a proxy, a gateway or a simulator between the application and Stripe, which is
# just where a load test or a broker for many devices puts its brake. Only retries of one's own obey it.
#
# Source: stripe-python #1843 and the same change in the other SDKs ("Remove unused Retry-After header support").
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install stripe==16.1.0
npm install --silent --no-audit --no-fund --prefix "$folder" stripe@23.1.0

# The first request of each client meets a 503 with Retry-After, the next one an answer that says when it came.
cat > "$folder/busy.py" <<'PY'
import http.server
import json
import threading
import time

asked = []


class Busy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(time.monotonic())
        first = len(asked) == 1
        body = {"error": {"message": "busy"}} if first else {"id": "cus_1", "object": "customer"}
        answer = json.dumps(body).encode()
        self.send_response(503 if first else 200)
        if first:
            self.send_header("retry-after", "5")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def waited():
    first, second = asked
    asked.clear()
    return second - first
PY

cat > "$folder/fetch.mjs" <<'JS'
import process from 'node:process';
import Stripe from 'stripe';

const options = { host: '127.0.0.1', port: process.argv[2], protocol: 'http', maxNetworkRetries: 1 };
await new Stripe('sk_test_example', options).customers.retrieve('cus_1');
console.log('stripe-node', Stripe.PACKAGE_VERSION);
JS

cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import subprocess
import sys

import busy
import stripe

port = busy.serve()
address = {"api": f"http://127.0.0.1:{port}"}
client = stripe.StripeClient("sk_test_example", base_addresses=address, max_network_retries=1)
client.v1.customers.retrieve("cus_1")
python = busy.waited()
subprocess.run(["node", "fetch.mjs", str(port)], check=True)
node = busy.waited()
print(f"stripe-python {stripe.VERSION} waited {python:.1f} s, stripe-node {node:.1f} s; Retry-After said 5 s")
if python > 4 or node > 4:
    sys.exit("behaviour has changed")
PY
