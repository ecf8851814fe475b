#!/bin/sh
# Guess: openwrt-ubus-rpc, the ubus client of Home Assistant, raises when rpcd refuses a call, or returns something else than
# for a success: the answer carries a status for that, [6] for permission denied.
#
# Seen: api_call() returns element 1 of the answer and None where there is none. A successful `uci commit` ([0]: no data),
# a refused one ([6]), an object that does not exist ([4]) and a method that ran into a timeout ([7]) all return None, and
# nothing is logged. Only a JSON-RPC error (an expired session) raises.
#
# Why it matters here: rpcd's uci object checks a login's rights itself and answers with the status, not with an error.
# A script that sets an option and commits with a login that may only read ends without a complaint, and nothing was stored.
# Ask with `get` afterwards, or use a client that looks at element 0.
#
# Source: openwrt/ubus/interface.py, api_call(); status numbers in OpenWrt's ubusmsg.h.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install openwrt-ubus-rpc==0.0.3 requests==2.34.2

"$folder/venv/bin/python" - <<'PY'
import http.server
import json
import sys
import threading
from importlib.metadata import version

from openwrt.ubus import Ubus

# uhttpd's answers as they are on the wire, by the configuration that is asked for.
ANSWERS = {"done": [0], "denied": [6], "missing": [4], "late": [7], "data": [0, {"value": "1"}]}


class Gateway(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["content-length"])))
        result = ANSWERS[call["params"][3]["config"]]
        answer = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
threading.Thread(target=server.serve_forever, daemon=True).start()
router = Ubus(f"http://127.0.0.1:{server.server_port}/ubus", "viewer", "secret")
seen = {name: router.api_call("call", "uci", "commit", {"config": name}) for name in ANSWERS}
print("openwrt-ubus-rpc", version("openwrt-ubus-rpc"), "->", seen)
if seen != {"done": None, "denied": None, "missing": None, "late": None, "data": {"value": "1"}}:
    sys.exit("behaviour has changed")
PY
