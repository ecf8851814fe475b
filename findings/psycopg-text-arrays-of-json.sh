#!/bin/sh
# Guess: with psycopg[c] or psycopg[binary] a list of texts as a parameter (%s with ::text[], the usual way to insert many rows by
# unnest) is dumped by the C extension, and costs about as much as the text form of its elements does.
#
# Seen: lists have no dumper in C. Each element of a text array is escaped by a regular expression in Python, one backslash at a
# time: 100 JSON texts of 5 KB take 70 to 150 ms, hundreds of times as long as the same list as %b (binary), and
# JSON, full of quotes, is the worst case: texts of the same length without any take a fraction of that.
#
# Why it matters here: it is what a webhook receiver does with the bodies it stores, and it shows nowhere but in a profile: the
# query is fast, the driver is "the C one". %b in the statement is the whole remedy.
#
# Source: psycopg/types/array.py, ListDumper._dump_list (a pattern searched and replaced in each element) beside ListBinaryDumper; psycopg_c has neither.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install 'psycopg[binary]==3.3.9'

"$folder/venv/bin/python" - <<'PY'
import json
import sys
import timeit
from importlib.metadata import version

import psycopg
from psycopg.adapt import PyFormat, Transformer

print("psycopg", version("psycopg"), "implementation", psycopg.pq.__impl__)


def seconds(texts, form):
    def dump():
        return Transformer().get_dumper(texts, form).dump(texts)

    return min(timeit.repeat(dump, number=3, repeat=5)) / 3


row = {"id": "sub_123456789", "object": "subscription", "status": "active", "n": 1}
body = json.dumps([row] * 66)
plain = "x" * len(body)
ratios = {}
for name, text in (("JSON", body), ("no quotes", plain)):
    texts = [text] * 100
    as_text, as_binary = seconds(texts, PyFormat.TEXT), seconds(texts, PyFormat.BINARY)
    ratios[name] = as_text / as_binary
    print(f"100 texts of {len(text)} characters, {name}: %s {as_text * 1e3:.2f} ms, %b {as_binary * 1e3:.3f} ms")
if psycopg.pq.__impl__ != "binary" or ratios["JSON"] < 50 or ratios["JSON"] < 3 * ratios["no quotes"]:
    sys.exit("behaviour has changed")
PY
