#!/bin/sh
# Guess: PyJWKClient fetches the key set again as soon as a token names a key that it does not know; and where the key
# set cannot be fetched for a while, keys that it does know go on being accepted.
#
# Seen: neither. For 30 seconds after each fetch, the first one included, an unknown key id is an error, and no request
# is made (cooldown_duration). A key that was published a second after that fetch is refused although the endpoint
# serves it. And the cached set ends after `lifespan` (300 s): the next token needs a successful fetch, so while the
# endpoint is down every token is refused, those of a known key too.
#
# Why it matters here: statements signed by a server are verified by other services. The server has to publish a new key
# well before it signs with it, not at the same time, and its key set must be as available as the services that rely on
# it.
#
# Source: jwt.jwks_client, PyJWKClient.get_signing_key(), and its docstring on cooldown_duration and lifespan.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install 'PyJWT[crypto]==2.15.1'

"$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

private = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("old", "new")}
public = [
    {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig", "alg": "ES256"}
    for name, key in private.items()
]
published = public[:1]
status = 200
requests = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        global requests
        requests += 1
        body = json.dumps({"keys": published}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()


def client(**options):
    return jwt.PyJWKClient(f"http://127.0.0.1:{server.server_port}/jwks.json", **options)


def verify(keys, name):
    global requests
    requests = 0
    token = jwt.encode({"sub": "router-1"}, private[name], algorithm="ES256", headers={"kid": name})
    try:
        result = jwt.decode(token, keys.get_signing_key_from_jwt(token), algorithms=["ES256"])["sub"]
    except jwt.PyJWKClientError as error:
        result = type(error).__name__
    return result, requests


seen = []


def show(text, keys, name):
    seen.append(verify(keys, name))
    print(f"{text:62} {seen[-1][0]} after {seen[-1][1]} request(s)")


print("PyJWT", jwt.__version__)
default, eager, brief = client(), client(cooldown_duration=0), client(lifespan=1)
for keys in (default, eager, brief):
    verify(keys, "old")
published = public
show("new key is published, client fetched a moment ago", default, "new")
show("the same with cooldown_duration=0", eager, "new")
status = 503
show("endpoint answers 503, known key, within lifespan", eager, "old")
time.sleep(1.2)
show("endpoint answers 503, known key, lifespan over", brief, "old")

if seen != [("PyJWKClientError", 0), ("router-1", 1), ("router-1", 0), ("PyJWKClientConnectionError", 1)]:
    sys.exit("behaviour has changed")
PY
