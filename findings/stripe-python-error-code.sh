#!/bin/sh
# Guess: an exception of the Stripe SDK has in .code what the body of the error has in "code".
#
# Seen: only for 400, 402 and 404. For 401, 403, 409, 429 and 5xx .code is None, while the body that the same exception
# carries has it: .error.code or .json_body["error"]["code"]. Stripe's SDK for Node fills .code for all of them.
#
# Why it matters here: a restricted key that lacks a permission (403, more_permissions_required) and an expired key
# (401, api_key_expired) need different advice to the administrator; a branch on .code never runs.
#
# Source: stripe._api_requestor, specific_v1_api_error(): code is passed to InvalidRequestError and CardError only.
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

ERRORS = {
    400: "parameter_missing",
    401: "api_key_expired",
    402: "card_declined",
    403: "more_permissions_required",
    404: "resource_missing",
    409: "lock_timeout",
    429: "rate_limit",
    500: "internal",
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status = int(self.path.rpartition("/")[2])
        body = json.dumps({"error": {"code": ERRORS[status], "message": "text"}}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = stripe.StripeClient(
    "sk_test_example", base_addresses={"api": f"http://127.0.0.1:{server.server_port}"}, max_network_retries=0
)

seen = {}
print("stripe", stripe.VERSION)
for status in ERRORS:
    try:
        client.v1.customers.retrieve(str(status))
    except stripe.StripeError as error:
        seen[status] = error.code
        print(f"{status} {type(error).__name__:20} .code {error.code!s:20} .error.code {error.error.code}")

expected = {status: code if status in (400, 402, 404) else None for status, code in ERRORS.items()}
if seen != expected:
    sys.exit(f"behaviour has changed: {seen}")
PY
