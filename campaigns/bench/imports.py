"""What each import of the daemon costs in time and memory, in the order in which they happen."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from campaigns.report import Row
from stripe_payments.__main__ import NOT_LOADED
from tools.ipk.makefiles import REPOSITORY

ROUNDS = 3
STEPS = (
    ("asyncio", "before the bus"),
    ("ubus_py", "before the bus"),
    ("stripe_payments.app", "before the bus"),
    ("sqlite3", "before the first answer"),
    ("stripe_payments.billing", "before the first answer"),
    ("stripe_payments.http_api.routing", "at the first HTTP request"),
    ("jinja2", "at the first page"),
    ("requests", "at the first Stripe call"),
    ("stripe", "at the first Stripe call"),
)
"""Module, and when the daemon needs it."""

PROGRAM = """
import importlib, json, sys, time

def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024

for name in sys.argv[1].split():
    sys.modules[name] = None
costs = []
for name in sys.argv[2:]:
    memory, start = resident(), time.perf_counter()
    importlib.import_module(name)
    costs.append([(time.perf_counter() - start) * 1000, resident() - memory])
print(json.dumps({"python": resident() - sum(cost[1] for cost in costs), "costs": costs}))
"""


async def _once() -> tuple[float, list[tuple[float, float]]]:
    """Resident MiB of Python itself, and of each step (ms, MiB)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        " ".join(NOT_LOADED),
        *(name for name, _ in STEPS),
        env={"PYTHONPATH": str(REPOSITORY / "daemon")},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    reported = json.loads(said)
    return reported["python"], [(spent, memory) for spent, memory in reported["costs"]]


async def measure(folder: Path) -> AsyncIterator[Row]:
    """The best time of a few rounds; memory hardly varies."""
    del folder
    rounds = [await _once() for _ in range(ROUNDS)]
    yield Row("memory, Python alone", min(python for python, _ in rounds), "MiB")
    for place, (name, when) in enumerate(STEPS):
        spent = min(costs[place][0] for _, costs in rounds)
        memory = min(costs[place][1] for _, costs in rounds)
        yield Row(f"import {name} ({when})", spent, "ms")
        yield Row(f"memory, import {name}", memory, "MiB")
