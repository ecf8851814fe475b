#!/bin/sh
# Guess: customers.update(id, {"description": None}) clears the description, as null does with Stripe's SDK for Node;
# a metadata value of None removes that key, and an empty list empties a list.
#
# Seen: Node sends null as an empty value, which is Stripe's way to clear a field. Python leaves None out of the request
# at every depth, and an empty list too. The call succeeds, the customer comes back, nothing has changed. Only "" clears.
#
# Why it matters here: code that moves a purchase to another router clears metadata at Stripe. With None the old router
# stays in it, and no error says so. Examples that were translated from JavaScript have exactly this fault.
#
# Source: stripe._encode, _api_encode() skips None; in stripe-node, queryStringifyRequestData() in utils writes "".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install stripe==16.1.0
npm install --silent --no-audit --no-fund --prefix "$folder" stripe@23.1.0

cat > "$folder/update.mjs" <<'JS'
import process from 'node:process';
import Stripe from 'stripe';

const stripe = new Stripe('sk_test_example', { host: '127.0.0.1', port: Number(process.argv[2]), protocol: 'http' });
await stripe.customers.update('cus_1', JSON.parse(process.argv[3]));
JS

NODE_SCRIPT="$folder/update.mjs" "$folder/venv/bin/python" - <<'PY'
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import unquote

import stripe

bodies = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        bodies.append(unquote(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        body = b'{"id": "cus_1", "object": "customer"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = stripe.StripeClient("sk_test_example", base_addresses={"api": f"http://127.0.0.1:{server.server_port}"})

seen = []
print("stripe-python", stripe.VERSION, "and stripe-node 23.1.0")
for params in (
    {"description": None},
    {"metadata": {"router": None, "note": ""}},
    {"preferred_locales": []},
):
    bodies.clear()
    client.v1.customers.update("cus_1", params)
    command = ["node", os.environ["NODE_SCRIPT"], str(server.server_port), json.dumps(params)]
    subprocess.run(command, check=True)
    print(f"{json.dumps(params):46} Python sends {bodies[0]!r}, Node sends {bodies[1]!r}")
    seen.append(tuple(bodies))

if seen != [
    ("", "description="),
    ("metadata[note]=", "metadata[router]=&metadata[note]="),
    ("", ""),
]:
    sys.exit(f"behaviour has changed: {seen}")
PY
