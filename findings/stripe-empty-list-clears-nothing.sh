#!/bin/sh
# Guess: subscriptions.update("sub_…", {"discounts": []}) takes the discounts away, as the same request in JSON would.
#
# Seen: stripe-python and stripe-node send a body in which the list does not occur at all; with nothing else in the
# update the body is empty. Stripe answers 200 with the subscription as it was, discount and tax rates included. The
# value that clears a list is an empty string ('' in both, null as well in Node), and the types of both SDKs accept [].
#
# Why it matters here: "write the list that should be there" is the natural way to apply a catalog or to end a promotion,
# and it works for every list but the empty one. No error, no log line, and the customer keeps the discount.
#
# Source: "Pass an empty string to remove previously-defined tax rates" stands at default_tax_rates in
# https://docs.stripe.com/api/subscriptions/update; stripe-node #337 and #1678 met the same with other lists.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install stripe==16.1.0
npm install --silent --no-audit --no-fund --prefix "$folder" stripe@23.1.0

# A server that keeps nothing: it answers with the body that it was sent.
cat > "$folder/echo.py" <<'PY'
import http.server
import json
import threading


class Echo(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        answer = json.dumps({"id": "sub_1", "object": "subscription", "metadata": {"sent": body}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port
PY

cat > "$folder/clear.mjs" <<'JS'
import process from 'node:process';
import Stripe from 'stripe';

const stripe = new Stripe('sk_test_example', { host: '127.0.0.1', port: process.argv[2], protocol: 'http' });
const sent = async (update) => (await stripe.subscriptions.update('sub_1', update)).metadata.sent;

const list = await sent({ discounts: [], default_tax_rates: [] });
const text = await sent({ discounts: '', default_tax_rates: null });
console.log(`stripe-node ${Stripe.PACKAGE_VERSION}: [] sends "${list}", '' and null send "${text}"`);
if (list !== '' || text !== 'discounts=&default_tax_rates=') {
	console.error('behaviour has changed');
	process.exit(1);
}
JS

cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import subprocess
import sys

import echo
import stripe

port = echo.serve()
client = stripe.StripeClient("sk_test_example", base_addresses={"api": f"http://127.0.0.1:{port}"})


def sent(update):
    return client.v1.subscriptions.update("sub_1", update).metadata["sent"]


empty_list = sent({"discounts": [], "default_tax_rates": []})
empty_text = sent({"discounts": "", "default_tax_rates": ""})
print(f'stripe-python {stripe.VERSION}: [] sends "{empty_list}", "" sends "{empty_text}"')
if (empty_list, empty_text) != ("", "discounts=&default_tax_rates="):
    sys.exit("behaviour has changed")
sys.exit(subprocess.run(["node", "clear.mjs", str(port)]).returncode)
PY
