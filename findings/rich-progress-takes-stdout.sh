#!/bin/sh
# Guess: a progress bar that is drawn on standard error leaves standard output alone, so `command --json > file` fills the file.
#
# Seen: while the bar is shown, rich puts itself in the place of sys.stdout, and what is printed goes where the bar is. With standard
# error on a terminal and standard output in a pipe or a file, the line of JSON is on the terminal and the file is empty. Without
# a terminal nothing is redirected, so neither a test that captures both nor a cron job shows it. redirect_stdout=False keeps them apart.
#
# Why it matters here: the hub's commands draw a bar and answer with --json; a vendor's script that reads the answer would have got
# nothing exactly when a person watches.
#
# Source: rich/live.py (_enable_redirect_io acts when the bar's console is a terminal, whatever standard output is).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
cd "$folder"

python3 -m venv venv
venv/bin/pip -qq install rich==15.0.0

cat > command.py <<'PY'
import json
import sys

from rich.console import Console
from rich.progress import Progress

kept = {"redirect_stdout": False} if "kept" in sys.argv else {}
with Progress(console=Console(stderr=True), **kept) as progress:
    progress.advance(progress.add_task("routers", total=1))
    print(json.dumps({"routers": 1}))
PY

venv/bin/python - <<'PY'
import os
import pty
import subprocess
import sys
from importlib.metadata import version


def outputs(terminal, *arguments):
    """What the command wrote on standard output, and on standard error, which is a terminal or a pipe."""
    reading, writing = pty.openpty() if terminal else os.pipe()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "command.py", *arguments], stdout=subprocess.PIPE, stderr=writing, env=environment, check=True
    )
    os.close(writing)
    seen = b""
    try:
        while chunk := os.read(reading, 4096):
            seen += chunk
    except OSError:  # Linux: the terminal's other side is closed
        pass
    return b'"routers": 1' in done.stdout, b'"routers": 1' in seen


print("rich", version("rich"), "- the JSON is (in standard output, beside the bar):")
table = {
    "standard error is a terminal": (outputs(True), (False, True)),
    "the same, redirect_stdout=False": (outputs(True, "kept"), (True, False)),
    "standard error is a pipe": (outputs(False), (True, False)),
}
for case, (seen, _) in table.items():
    print(f"  {case}: {seen}")
if any(seen != expected for seen, expected in table.values()):
    sys.exit("behaviour has changed")
PY
