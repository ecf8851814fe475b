#!/bin/sh
# Guess: a parser of OpenWrt's configuration files reads what `uci commit` writes.
#
# Seen: uciparse refuses any value with an apostrophe as OpenWrt writes it ('it'\''s'), with a backslash in it, or that
# goes over two lines; all three are valid and are written by the uci command itself. It reads a line as one value from
# the first quote to the last, so the two options of one line ('a'; option b 'c') become a single value.
#
# Why it matters here: product names and seller names are free text ("Rosso d'Alba"). A fleet tool that edits
# /etc/config by this package works until the first of them, and then for no option of that file.
#
# Source: the docstring of uciparse.uci ("escaped quotes are not allowed", where it calls the specification silent);
# the writer that decides is uci_export_package() in file.c of OpenWrt's uci.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
# 0.3.1 needs Python 3.12; its rules are the same.
"$folder/venv/bin/pip" -qq install uciparse==0.3.0

"$folder/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from uciparse.uci import UciFile, UciOptionLine, UciParseError


def read(line):
    try:
        lines = UciFile.from_lines([part + "\n" for part in ("config seller 'main'\n" + line).split("\n")]).lines
    except UciParseError as error:
        return f"refused: {error.message.rpartition(': ')[2]}"
    return [option.value for option in lines if isinstance(option, UciOptionLine)]


LINES = {
    "plain": "\toption name 'Alba'",
    "apostrophe": "\toption name 'Rosso d'\\''Alba'",
    "backslash": "\toption path 'C:\\photos'",
    "two lines": "\toption text 'one\ntwo'",
    "two options": "\toption a 'x'; option b 'y'",
}
seen = {name: read(line) for name, line in LINES.items()}
print("uciparse", version("uciparse"))
for name, line in LINES.items():
    print(f"{name:13} {line.strip()!r:36} {seen[name]}")
refused = "refused: invalid option line"
if seen != {
    "plain": ["Alba"],
    "apostrophe": refused,
    "backslash": refused,
    "two lines": refused,
    "two options": ["x'; option b 'y"],
}:
    sys.exit("behaviour has changed")
PY
