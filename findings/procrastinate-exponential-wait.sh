#!/bin/sh
# Guess: RetryStrategy(exponential_wait=60) waits a minute, then two, four, eight.
#
# Seen: it waits 60 ** attempt seconds: a minute, an hour, two and a half days, 150 days, 24 years. The number is the
# base, not the first wait, so no value gives "double from a minute"; from the seventh attempt on the date is the last
# one that a datetime can hold. retry=True is the other extreme: no wait at all, without an end.
#
# Why it matters here: a job that talks to Stripe gets "exponential from a minute" by this call, looks right for two
# attempts, and is not tried again in the week of the outage. The job is `todo` all the while, nothing is reported.
#
# Source: procrastinate.retry, RetryStrategy: wait + linear_wait * attempts + exponential_wait ** (attempts + 1).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install procrastinate==3.10.0

"$folder/venv/bin/python" - <<'PY'
import sys
from datetime import datetime, timezone
from importlib.metadata import version

from procrastinate.jobs import Job
from procrastinate.retry import RetryStrategy, get_retry_strategy


def waits(strategy, attempts):
    for attempt in attempts:
        job = Job(id=1, queue="default", lock=None, queueing_lock=None, task_name="sync", attempts=attempt)
        decision = strategy.get_retry_decision(exception=ConnectionError(), job=job)
        yield round((decision.retry_at - datetime.now(timezone.utc)).total_seconds())


print("procrastinate", version("procrastinate"))
exponential = list(waits(RetryStrategy(exponential_wait=60), range(5)))
for attempt, seconds in enumerate(exponential, 1):
    print(f"exponential_wait=60, after attempt {attempt}: {seconds:>11,} s = {seconds / 86400:.2f} days")
(late,) = waits(RetryStrategy(exponential_wait=60), [6])
print(f"exponential_wait=60, after attempt 7: {late / 86400 / 365.2425:.0f} years")
at_once = list(waits(get_retry_strategy(True), (0, 1, 1000)))
print("retry=True, after attempts 1, 2 and 1001:", at_once)
if exponential != [60, 3600, 216000, 12960000, 777600000] or late < 7000 * 31557600 or at_once != [0, 0, 0]:
    sys.exit("behaviour has changed")
PY
