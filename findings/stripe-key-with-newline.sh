#!/bin/sh
# Guess: a secret key that was read from a file with its final newline is stripped, or refused as a bad key.
#
# Seen: both of Stripe's SDKs report a network fault. Python raises APIConnectionError ("Unexpected error communicating
# with Stripe"), Node StripeConnectionError, which even says that the request was retried twice. Nothing was sent.
#
# Why it matters here: a key file written by `echo` ends in a newline. The diagnosis then points at DNS, firewall or an
# outage of Stripe, and a daemon that waits for the network to come back waits for ever.
#
# Source: stripe._http_client, RequestsClient._handle_request_error(), takes the InvalidHeader of requests for a network
# error; in stripe-node, RequestSender does the same with the ERR_INVALID_CHAR of Node's http module.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install stripe==16.1.0
npm install --silent --no-audit --no-fund --prefix "$folder" stripe@23.1.0

"$folder/venv/bin/python" - <<'PY'
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import stripe

requests = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        global requests
        requests += 1
        self.send_error(401)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = stripe.StripeClient(
    "sk_test_example\n", base_addresses={"api": f"http://127.0.0.1:{server.server_port}"}
)
try:
    client.v1.customers.retrieve("cus_1")
    seen = "answer"
except stripe.StripeError as error:
    seen = type(error).__name__
print("stripe-python", stripe.VERSION, "->", seen, "after", requests, "request(s)")
if (seen, requests) != ("APIConnectionError", 0):
    sys.exit("behaviour has changed")
PY

cat > "$folder/key.mjs" <<'JS'
import http from 'node:http';
import process from 'node:process';
import Stripe from 'stripe';

let requests = 0;
const server = http.createServer((request, response) => {
	requests += 1;
	response.writeHead(401).end('{"error": {}}');
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const stripe = new Stripe('sk_test_example\n', { host: '127.0.0.1', port: server.address().port, protocol: 'http' });
const seen = await stripe.customers.retrieve('cus_1').then(
	() => 'answer',
	(error) => `${error.constructor.name}: ${error.message}`,
);
console.log('stripe-node', Stripe.PACKAGE_VERSION, '->', seen, 'after', requests, 'request(s)');
server.close();
if (!seen.startsWith('StripeConnectionError') || !seen.includes('retried 2 times') || requests !== 0) {
	console.error('behaviour has changed');
	process.exit(1);
}
JS
node "$folder/key.mjs"
