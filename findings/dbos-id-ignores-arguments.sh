#!/bin/sh
# Guess: a workflow ID of DBOS is an idempotency key as payment APIs have them: the same ID with other arguments is refused
# (Stripe: idempotency_error), and what failed can be tried again under it.
#
# Seen: refund(500) under an ID that refund(300) had returns the result of 300: no error, no warning, the 500 is not done.
# A workflow that failed has failed for good under its ID: calling it again does not run it and raises the stored error,
# also in a new process. What is compared is the name of the function; another function under the ID is an error.
#
# Why it matters here: IDs that are built from the object ("refund-<payment>", "sync-<customer>") swallow the second, different
# request, and an event whose handler met one bad moment can be delivered again as often as one likes.
#
# Source: dbos, SystemDatabase._insert_workflow_status, which compares name, class, instance and queue, never the inputs; its
# documentation says "executes only once" of an ID. The policy "reject" refuses every reuse, with the same arguments too.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install dbos==3.4.0

cat > "$folder/shop.py" <<'PY'
import json
import logging
import sys
from pathlib import Path

from dbos import DBOS, SetWorkflowID

folder = Path(sys.argv[1])
done = folder / "done"
DBOS(config={"name": "shop", "system_database_url": f"sqlite:///{folder}/dbos.sqlite", "run_admin_server": False})
logging.disable(logging.INFO)


@DBOS.workflow()
def refund(amount):
    with done.open("a") as file:
        print(amount, file=file)
    if amount == 13:
        raise ValueError("the bank is away")
    return f"{amount} refunded"


@DBOS.workflow()
def charge(amount):
    return f"{amount} charged"


def run(function, key, amount):
    try:
        with SetWorkflowID(key):
            return function(amount)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


DBOS.launch()
results = [run(refund, "pi_1", 300), run(refund, "pi_1", 500), run(refund, "pi_2", 13), run(refund, "pi_2", 13)]
results.append(run(charge, "pi_1", 300).partition(":")[0])
DBOS.destroy()
print(json.dumps({"results": results, "done": done.read_text().split()}))
PY

"$folder/venv/bin/python" -c 'from importlib.metadata import version; print("dbos", version("dbos"))'
first=$("$folder/venv/bin/python" "$folder/shop.py" "$folder" 2> "$folder/log")
second=$("$folder/venv/bin/python" "$folder/shop.py" "$folder" 2>> "$folder/log")
echo "first process:  $first"
echo "second process: $second"
warnings=$(grep -ci 'input\|argument' "$folder/log" || true)
echo "lines of the log that mention inputs or arguments: $warnings"
expected='["300 refunded", "300 refunded", "ValueError: the bank is away", "ValueError: the bank is away", "DBOSConflictingWorkflowError"], "done": ["300", "13"]}'
if [ "$first" != "{\"results\": $expected" ] || [ "$second" != "$first" ] || [ "$warnings" != 0 ]; then
    echo "behaviour has changed" >&2
    exit 1
fi
