#!/bin/sh
# Guess: a price that came in a webhook and the same price fetched by id have fields of the same types.
#
# Seen: since stripe-node 21 fields that are decimal strings, such as unit_amount_decimal, are Stripe.Decimal objects in
# answers of the API. stripe.webhooks.constructEvent() leaves them as strings, although its type says Stripe.Price too.
# So price.unit_amount_decimal.mul(...) works in one path and throws in the other, and === compares a string with an
# object. Python's construct_event() converts both.
#
# Why it matters here: "fetch or take the payload" is the usual optimisation of a webhook handler; with metered prices
# below a cent the two branches then see different types, and TypeScript does not warn.
#
# Source: stripe-node's changelog for 21.0.0 (#2617) promises the new type for V1 and V2 responses; Webhooks.js only
# calls JSON.parse().
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install stripe==16.1.0
npm install --silent --no-audit --no-fund --prefix "$folder" stripe@23.1.0

cat > "$folder/decimal.mjs" <<'JS'
import http from 'node:http';
import process from 'node:process';
import Stripe from 'stripe';

const price = { id: 'price_1', object: 'price', unit_amount: null, unit_amount_decimal: '0.5' };
const event = JSON.stringify({ id: 'evt_1', object: 'event', type: 'price.updated', data: { object: price } });

const server = http.createServer((request, response) => response.end(JSON.stringify(price)));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const stripe = new Stripe('sk_test_example', { host: '127.0.0.1', port: server.address().port, protocol: 'http' });
const kind = (value) => (value instanceof Object && 'mul' in value ? 'Decimal' : typeof value);

const fetched = await stripe.prices.retrieve('price_1');
const secret = 'whsec_example';
const header = stripe.webhooks.generateTestHeaderString({ payload: event, secret });
const delivered = stripe.webhooks.constructEvent(event, header, secret).data.object;
server.close();

const seen = `fetched ${kind(fetched.unit_amount_decimal)}, in an event ${kind(delivered.unit_amount_decimal)}`;
console.log('stripe-node', Stripe.PACKAGE_VERSION, '-> unit_amount_decimal:', seen);
if (seen !== 'fetched Decimal, in an event string') {
	console.error('behaviour has changed');
	process.exit(1);
}
JS
node "$folder/decimal.mjs"

"$folder/venv/bin/python" - <<'PY'
import hashlib
import hmac
import json
import sys
import time

import stripe

price = {"id": "price_1", "object": "price", "unit_amount": None, "unit_amount_decimal": "0.5"}
body = json.dumps({"id": "evt_1", "object": "event", "type": "price.updated", "data": {"object": price}})
now = int(time.time())
signature = hmac.new(b"whsec_example", f"{now}.{body}".encode(), hashlib.sha256).hexdigest()
delivered = stripe.Webhook.construct_event(body, f"t={now},v1={signature}", "whsec_example").data.object
seen = type(delivered.unit_amount_decimal).__name__
print("stripe-python", stripe.VERSION, "-> unit_amount_decimal: in an event", seen)
if seen != "Decimal":
    sys.exit("behaviour has changed")
PY
