#!/bin/sh
# Guess: netjsonconfig, which renders UCI files for fleets of OpenWrt devices (it is the library below OpenWISP), quotes
# values for UCI: Anna's shop becomes 'Anna'\''s shop', as `uci export` writes it.
#
# Seen: it writes option name 'Anna's shop'. OpenWrt's own uci (66127cd) refuses such a file whole, with "Parse error
# (EOF with unterminated ')", so that every other option of the package is gone with it. The library's own parser reads
# its own file back without an error, as "Annas shop". A value with a line break comes back as its first line.
#
# Why it matters here: a vendor who puts `option seller` into thousands of routers with this library finds out on the
# routers that a name had an apostrophe: validation, rendering and reading back at the desk all succeed.
#
# Source: netjsonconfig's template for OpenWrt puts the value between two apostrophes; opensoho #53 met the same fault
# in a renderer of its own.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install netjsonconfig==1.3.1

"$folder/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from netjsonconfig import OpenWrt

section = {"config_name": "seller", "config_value": "main", "name": "Anna's shop"}
rendered = OpenWrt({"payments": [section]}).render()
back = OpenWrt(native=rendered).config["payments"][0]["name"]
line = next(line.strip() for line in rendered.splitlines() if "name" in line)
print("netjsonconfig", version("netjsonconfig"), "writes:", line, "| and reads it back as:", back)
if (line, back) != ("option name 'Anna's shop'", "Annas shop"):
    sys.exit("behaviour has changed")
PY
