#!/bin/sh
# Guess: stripe.StripeClient with its synchronous methods uses requests; aiohttp and httpx, which the SDK supports for its
# ..._async methods, are imported when such a method is called first.
#
# Seen: a program that makes one synchronous request has imported aiohttp (httpx instead, where that is installed), although
# nothing asynchronous is ever called and the HTTP client that it passes is RequestsClient.
#
# Why it matters here: about ten MiB of memory in a daemon on a router, depending on what else is installed; a
# measurement on a machine for development does not show what a device needs.
#
# Source: stripe._http_client, _resolve_async_client(), called when the module is imported.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install stripe==16.1.0 aiohttp==3.14.5

"$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"id": "cus_1", "object": "customer"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()

import stripe

client = stripe.StripeClient(
    "sk_test_example",
    base_addresses={"api": f"http://127.0.0.1:{server.server_port}"},
    http_client=stripe.RequestsClient(),
)
client.v1.customers.retrieve("cus_1")
imported = "aiohttp" in sys.modules
print(f"stripe {stripe.VERSION}: aiohttp is imported: {imported}; modules of it: "
      f"{sum(name.startswith('aiohttp') for name in sys.modules)}")
sys.exit(not imported)
PY
