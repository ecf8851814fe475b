#!/bin/sh
# Guess: a stateful stand-in for Stripe honours Idempotency-Key, and has its objects in the shape of the API version that
# the client asks for, or refuses that version.
#
# Seen: localstripe makes a second customer for the same key, and a second subscription. It reads no Stripe-Version: the
# SDK sends 2026-10-28.endive, and a subscription comes in the shape of before 2025-03-31, with current_period_end at
# the top and none on its items, where Stripe has it now.
#
# Why it matters here: these are the two things such tests are written for. "The retry charges once" fails here and holds
# at Stripe; code that reads the old field passes here and finds nothing at Stripe.
#
# Source: localstripe/server.py and Subscription, SubscriptionItem in localstripe/resources.py; Stripe's changelog for
# 2025-03-31.basil (billing periods moved to items).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install localstripe==1.15.10 stripe==16.1.0
cd "$folder"

venv/bin/python - <<'PY'
import socket
import subprocess
import sys
import time
from importlib.metadata import version

import stripe

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
command = ["venv/bin/localstripe", "--port", str(port), "--from-scratch"]
server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    v1 = stripe.StripeClient("sk_test_example", base_addresses={"api": f"http://127.0.0.1:{port}"}).v1

    def customer():
        return v1.customers.create({"email": "someone@example.org"}, {"idempotency_key": "customer-router-1"}).id

    one, two = customer(), customer()
    product = v1.products.create({"name": "Plan", "type": "service"})
    plan = v1.plans.create({"product": product.id, "amount": 500, "currency": "eur", "interval": "month"})
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2050, "cvc": "123"}
    method = v1.payment_methods.create({"type": "card", "card": card})
    v1.payment_methods.attach(method.id, {"customer": one})
    v1.customers.update(one, {"invoice_settings": {"default_payment_method": method.id}})
    subscription = v1.subscriptions.create({"customer": one, "items": [{"plan": plan.id}]}).to_dict()
finally:
    server.terminate()
    server.wait()

item = subscription["items"]["data"][0]
seen = (one == two, "current_period_end" in subscription, "current_period_end" in item)
print("localstripe", version("localstripe"), "called by stripe", stripe.VERSION, "with", stripe.api_version)
print("two customers.create with one Idempotency-Key:", "one customer" if seen[0] else "two customers")
print("current_period_end on the subscription:", seen[1], "- on its item:", seen[2])
if seen != (False, True, False):
    sys.exit("behaviour has changed")
PY
