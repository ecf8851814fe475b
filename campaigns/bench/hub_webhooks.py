"""How many of Stripe's deliveries the hub accepts, beside what people would pick instead of it.

All receivers run in this run, on one private PostgreSQL with the same settings (a commit is durable: fsync
and synchronous_commit are on), each with a database of its own. They take turns, in an order that goes
round, and get the same kinds of signed bodies, as the simulator sends them.

Before they answer, the hub and the Flask receiver store an event, stripe-sync-engine mirrors its object, and
dj-stripe stores the event for a queue.
"""

import asyncio
import copy
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from campaigns.bench.installed_peers import INSTALLED, PROGRAMS, install
from campaigns.bench.processes import REPOSITORY, cpu_seconds, running, spare_port
from campaigns.bench.webhook_sender import send_all, webhook_request
from campaigns.report import Goal, NotMeasured, Row
from simulator.postgres import PostgreSQL
from simulator.world import World
from stripe_payments.stripe_api import sign

SECRET = "whsec_" + "b" * 32
ROUNDS = 3
CUSTOMERS = 5000
KINDS = {"subscription.updated": "customer.subscription.updated", "charge": "charge.refunded"}
"""The second one stands for every charge: stripe-sync-engine treats all of them alike, and the hub does not
subscribe to charge.succeeded.
"""
DONE = {
    "stripe-sync-engine": "the peer mirrors the object; the hub stores a plan's payload, of a charge its id",
    "dj-stripe": "the peer stores the event for a queue",
    "flask": "the peer stores the payload",
}
Start = tuple[Sequence[str], Mapping[str, str]]


@dataclass
class _Receiver:
    """A program that takes webhooks. `sent`: in each round; `rates` in 1/s, `costs` in µs of CPU a request,
    its own and PostgreSQL's, by kind; `failed`: why it takes no part.
    """

    name: str
    sent: int
    path: str = "/webhook"
    port: int = field(default_factory=spare_port)
    pid: int = 0
    database: str = ""
    failed: str = ""
    rates: dict[str, list[float]] = field(default_factory=dict)
    costs: dict[str, list[float]] = field(default_factory=dict)

    async def turn(self, kind: str, bodies: Sequence[bytes], database: int) -> None:
        now = int(time.time())
        requests = [
            webhook_request(self.path, body, f"t={now},v1={sign(body, SECRET, now)}") for body in bodies
        ]
        before = cpu_seconds(self.pid) + cpu_seconds(database)
        took = await send_all(self.port, requests)
        cost = cpu_seconds(self.pid) + cpu_seconds(database) - before
        self.rates.setdefault(kind, []).append(len(bodies) / took)
        self.costs.setdefault(kind, []).append(cost * 1e6 / len(bodies))


async def measure(folder: Path) -> AsyncIterator[Row]:
    """Rows against each peer; a peer that fails is a row that says why. NotMeasured without PostgreSQL."""
    missing = await asyncio.to_thread(install, INSTALLED)
    samples = await _samples()
    postgres = await asyncio.to_thread(PostgreSQL, on_disk=True)
    receivers = [
        _Receiver("hub", 2000, "/stripe/webhook"),
        _Receiver("stripe-sync-engine", 800),
        _Receiver("dj-stripe", 150),
        _Receiver("flask", 400),
    ]
    for receiver in receivers:
        receiver.failed = missing.get(receiver.name, "")
    try:
        await asyncio.to_thread(postgres.start)
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(_set_durable, postgres, on=False)  # hundreds of tables are made
            for receiver in receivers:
                await _attempt(receiver, _start(stack, folder, postgres, receiver))
            await asyncio.to_thread(_set_durable, postgres, on=True)
            for number in range(ROUNDS + 1):
                for kind, sample in samples.items():
                    for receiver in receivers:
                        bodies = list(_bodies(sample, f"{receiver.name}{kind[:3]}{number}", receiver.sent))
                        await _attempt(receiver, receiver.turn(kind, bodies, postgres.pid))
                receivers.append(receivers.pop(0))
            by_name = {receiver.name: receiver for receiver in receivers}
            if not by_name["hub"].failed:
                _check_stored(by_name["hub"])
    finally:
        await asyncio.to_thread(postgres.remove)
    for row in _rows(by_name):
        yield row
    reason = "its event lacks the refunds: the worker fetches the payment"
    yield Row("charge: accepted and mirrored in one transaction", reason=reason)


def _set_durable(postgres: PostgreSQL, *, on: bool) -> None:
    """Whether a commit waits for the disk."""
    fsync = "on" if on else "off"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET fsync = {fsync}".encode())
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CHECKPOINT")
        for setting, wanted in (("fsync", fsync), ("synchronous_commit", "on")):
            deadline = time.monotonic() + 10
            while connection.execute(f"SHOW {setting}".encode()).fetchone() != (wanted,):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{setting} is not {wanted}")
                time.sleep(0.05)


async def _attempt(receiver: _Receiver, step: Coroutine[Any, Any, None]) -> None:
    """A receiver that failed once takes no part any more."""
    if receiver.failed:
        step.close()
        return
    try:
        await step
    except (NotMeasured, RuntimeError, OSError) as error:
        receiver.failed = str(error) or type(error).__name__


def _check_stored(hub: _Receiver) -> None:
    """What was answered 200 is in the table. Raises RuntimeError."""
    sent = hub.sent * len(KINDS) * (ROUNDS + 1)
    with closing(psycopg.connect(hub.database, autocommit=True)) as connection:
        row = connection.execute("SELECT count(*) FROM inbox").fetchone()
    if row != (sent,):
        raise RuntimeError(f"the hub has stored {row} of {sent} events")


def _rows(receivers: Mapping[str, _Receiver]) -> Iterator[Row]:
    """The first round warms up and does not count."""
    goals = {
        ("stripe-sync-engine", "subscription.updated"): Goal(">=", 8, of_baseline=True),
        ("stripe-sync-engine", "charge"): Goal(">=", 4, of_baseline=True),
        ("dj-stripe", "subscription.updated"): Goal(">=", 10, of_baseline=True),
        ("dj-stripe", "charge"): Goal(">=", 10, of_baseline=True),
    }
    hub = receivers["hub"]
    failed = [receiver for receiver in receivers.values() if receiver.failed]
    for receiver in failed:
        yield Row(f"durable accepts, {receiver.name}", reason=receiver.failed)
    for name, peer in receivers.items():
        if peer is hub or peer in failed or hub in failed:
            continue
        for kind in KINDS:
            goal = goals.get((name, kind))
            rate, cost = (
                [median(one.rates[kind][1:]) for one in (hub, peer)],
                [median(one.costs[kind][1:]) for one in (hub, peer)],
            )
            yield Row(f"{kind}: durable accepts, {name}", rate[0], "1/s", goal, rate[1], name, DONE[name])
            cheap = Goal("<=", 1 / 7, of_baseline=True) if goal is not None and goal.bound == 8 else None
            yield Row(f"{kind}: CPU with PostgreSQL, {name}", cost[0], "µs", cheap, cost[1], name)


# -- the bodies ---------------------------------------------------------------------------------------


async def _samples() -> dict[str, dict[str, Any]]:
    """An event of each kind, as the simulator renders it for a plan that was bought and refunded."""
    async with World() as world:
        await world.bus.call("stripe-payments", "sync", {})
        bought = await world.bus.call(
            "stripe-payments", "create_checkout_session", {"price_id": "price_premium_monthly"}
        )
        await world.pay(str(bought["session_id"]))
        charges = await world.account.request("GET", "charges")
        await world.account.request("POST", "refunds", charge=charges["data"][0]["id"])
        subscriptions = await world.account.request("GET", "subscriptions")
        await world.account.request(
            "POST", f"subscriptions/{subscriptions['data'][0]['id']}", metadata={"note": "changed"}
        )
        found = {}
        for kind, type_ in KINDS.items():
            events = await world.account.request("GET", "events", type=type_)
            found[kind] = events["data"][0]
    return found


def _bodies(sample: Mapping[str, Any], run: str, count: int) -> Iterator[bytes]:
    """Distinct events, of objects of so many customers; each object's get newer."""
    event = copy.deepcopy(dict(sample))
    data = event["data"]["object"]
    id_, customer = data["id"], data["customer"]
    text = json.dumps(event, indent=2)
    for number in range(count):
        one = number % CUSTOMERS
        event_id = f"evt_{run}_{number}"
        created = int(sample["created"]) + number // CUSTOMERS
        yield (
            text.replace(str(sample["id"]), event_id)
            .replace(id_, f"{id_}{run}{one}")
            .replace(customer, f"{customer}{run}{one}")
            .replace(f'"created": {sample["created"]}', f'"created": {created}')
            .encode()
        )


# -- the programs -------------------------------------------------------------------------------------


async def _start(stack: AsyncExitStack, folder: Path, postgres: PostgreSQL, receiver: _Receiver) -> None:
    database = await asyncio.to_thread(postgres.create_database)
    receiver.database = postgres.url(database)
    environment = {
        "DATABASE_URL": receiver.database,
        "PGDATABASE": database,
        "PGHOST": str(postgres.folder),
        "PGUSER": "postgres",
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "PORT": str(receiver.port),
        "NODE_PATH": str(INSTALLED / "node_modules"),
    }
    prepare = {"hub": _hub, "stripe-sync-engine": _sync_engine, "dj-stripe": _dj_stripe, "flask": _flask}
    command, more = await asyncio.to_thread(prepare[receiver.name], folder, receiver, environment)
    process = await stack.enter_async_context(
        running(*command, log=folder / f"{receiver.name}.log", environment={**environment, **more})
    )
    receiver.pid = process.pid
    await _listens(receiver, folder)


def _hub(folder: Path, receiver: _Receiver, environment: dict[str, str]) -> Start:
    more = {
        "HUB_URL": f"http://127.0.0.1:{receiver.port}",
        "HUB_SIGNING_KEY_FILE": str(folder / "signing-keys.json"),
        "STRIPE_SECRET_KEY": "sk_test_bench",
        "PYTHONPATH": f"{REPOSITORY / 'daemon'}:{REPOSITORY / 'hub'}",
    }
    for words in (("migrate",), ("keys", "rotate")):
        _checked((sys.executable, "-m", "payments_hub", *words), {**environment, **more})
    return (sys.executable, "-m", "payments_hub", "serve", "--port", str(receiver.port)), more


def _sync_engine(folder: Path, receiver: _Receiver, environment: dict[str, str]) -> Start:
    return ("node", str(PROGRAMS / "sync_engine.cjs")), {}


def _dj_stripe(folder: Path, receiver: _Receiver, environment: dict[str, str]) -> Start:
    more = {"PYTHONPATH": str(PROGRAMS), "LEAVE_TO_A_QUEUE": "1"}
    program = "from dj_stripe_site import prepare; prepare()"
    receiver.path = _checked(
        (str(INSTALLED / "venv/bin/python"), "-c", program), {**environment, **more}
    ).strip()
    return _gunicorn(receiver, "dj_stripe_site:application"), more


def _flask(folder: Path, receiver: _Receiver, environment: dict[str, str]) -> Start:
    with closing(psycopg.connect(environment["DATABASE_URL"], autocommit=True)) as connection:
        connection.execute(
            "CREATE TABLE events (id text PRIMARY KEY, type text NOT NULL, payload jsonb NOT NULL)"
        )
    return _gunicorn(receiver, "flask_receiver:app"), {"PYTHONPATH": str(PROGRAMS)}


def _gunicorn(receiver: _Receiver, application: str) -> tuple[str, ...]:
    """Two workers, as it has to be for two cores, with threads for the connections."""
    options = ("-w", "2", "--threads", "16", "--keep-alive", "30", "--no-control-socket")
    return (
        str(INSTALLED / "venv/bin/gunicorn"),
        *options,
        "-b",
        f"127.0.0.1:{receiver.port}",
        application,
    )


def _checked(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotMeasured(f"{command[-1]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


async def _listens(receiver: _Receiver, folder: Path, patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            _reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
            writer.close()
            return
        except OSError:
            if time.monotonic() > deadline:
                log = (folder / f"{receiver.name}.log").read_text(errors="replace")
                raise NotMeasured(f"{receiver.name} does not start: {log[-300:]}") from None
            await asyncio.sleep(random.uniform(0.1, 0.3))
