#!/bin/sh
# Guess: po2lmo from PyPI, "fully compatible with the original C version's binary format", makes the file that OpenWrt's
# own po2lmo makes of the same .po file.
#
# Seen: it knows neither msgid_plural nor msgctxt nor the Plural-Forms of the header. A plural is left out, exit status 0.
# A message with a context is stored under the key of the same message without one; if both are there, it stops with
# "Duplicate key ID", and what it had written stays behind as a file without index.
#
# Why it matters here: LuCI looks a plural up under hash(msgid, 0x02, form) and a context under hash(msgid, 0x01, context).
# A package built with this tool shows "%d routers" in English in the middle of an Italian page, and its build is green.
#
# Source: po2lmo.core, parse_po_file() reads "msgid " and "msgstr " lines only; the keys: _() and N_() in LuCI's cbi.js.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install po2lmo==1.0.0

cat > "$folder/plural.po" <<'PO'
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

msgid "Pay"
msgstr "Paga"

msgid "%d day"
msgid_plural "%d days"
msgstr[0] "%d giorno"
msgstr[1] "%d giorni"

msgctxt "verb"
msgid "Refund"
msgstr "Rimborsa"
PO
cp "$folder/plural.po" "$folder/context.po"
cat >> "$folder/context.po" <<'PO'

msgid "Refund"
msgstr "Rimborso"
PO

for name in plural context; do
	status=0
	"$folder/venv/bin/po2lmo" "$folder/$name.po" "$folder/$name.lmo" 2> "$folder/$name.err" || status=$?
	echo "$status" > "$folder/$name.status"
done

"$folder/venv/bin/python" - "$folder" <<'PY'
import struct
import sys
from importlib.metadata import version
from pathlib import Path

from po2lmo import sfh_hash

folder = Path(sys.argv[1])
lmo = (folder / "plural.lmo").read_bytes()
index = lmo[struct.unpack(">I", lmo[-4:])[0] : -4]
keys = {key for key, _, _, _ in struct.iter_unpack(">4I", index)}
lookups = {
    "Pay": "Pay",
    "%d day, singular": "%d day\x020",
    "%d day, plural": "%d day\x021",
    "Refund, as a verb": "Refund\x01verb",
    "Refund, no context": "Refund",
}
seen = {name: sfh_hash(text) in keys for name, text in lookups.items()}
seen["rule of plurals"] = 0 in keys
print("po2lmo", version("po2lmo"), "- exit status", (folder / "plural.status").read_text().strip())
for name, found in seen.items():
    print(f"   {name:20} {'found' if found else 'not found'}")
message = (folder / "context.err").read_text().partition("\n")[0]
left = (folder / "context.lmo").read_bytes()
print("with both contexts: exit status", (folder / "context.status").read_text().strip(), "-", message)
print("   left behind:", left)
found = [name for name, there in seen.items() if there]
if found != ["Pay", "Refund, no context"] or not message.startswith("ERROR: Duplicate") or not left:
    sys.exit("behaviour has changed")
PY
