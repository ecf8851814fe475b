"""A peer as a receiver: a program of its own on a database of its own. Its deliveries are signed and come
over HTTP, and what it asks of Stripe is answered from the recording. It gets the events of what is compared:
subscriptions and charges.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import psycopg
from aiohttp import web

from campaigns.bench.installed_peers import INSTALLED, PROGRAMS
from campaigns.order.recording import Recording, differing, facts_of, number_of
from campaigns.order.sequences import Script, Step
from campaigns.report import NotMeasured
from simulator.postgres import PostgreSQL
from simulator.stripe_cloud import parameters
from simulator.stripe_cloud.form_encoding import decode
from simulator.stripe_cloud.routes import find_route
from stripe_payments.stripe_api import sign
from tests.hub.vendor import free_port

__all__ = ["PEERS", "PeerReceiver"]

_COMPARED: Final = (
    "customer.subscription.",
    "charge.succeeded",
    "charge.failed",
    "charge.refunded",
    "charge.updated",
)
_SECRET: Final = "whsec_" + "o" * 32
_AT_ONCE: Final = 16
"""Customers; the deliveries of one wait for each other, but where they overtake."""
_REPEATED: Final = 3
_START_S: Final = 120.0


@dataclass(frozen=True)
class _Peer:
    """`stored`: a query for the ids and the objects that it has stored."""

    name: str
    stored: str


PEERS: Final = {
    "stripe-sync-engine": _Peer(
        "stripe-sync-engine 0.48.5",
        "SELECT id, jsonb_build_object('object', 'subscription', 'status', status, 'items', items,"
        " 'cancel_at_period_end', cancel_at_period_end) FROM stripe.subscriptions UNION ALL"
        " SELECT id, jsonb_build_object('object', 'charge', 'amount_refunded', amount_refunded)"
        " FROM stripe.charges",
    ),
    "dj-stripe": _Peer(
        "dj-stripe 2.11.0",
        "SELECT id, stripe_data FROM djstripe_subscription"
        " UNION ALL SELECT id, stripe_data FROM djstripe_charge",
    ),
}


class PeerReceiver:
    """Use `open`."""

    def __init__(self, peer: _Peer, database: str, http: aiohttp.ClientSession) -> None:
        self.name = peer.name
        self._peer = peer
        self._database = database
        self._http = http
        self._url = ""
        self._recording: Recording | None = None
        self._moments: dict[int, int] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, name: str, postgres: PostgreSQL, folder: Path) -> AsyncIterator[PeerReceiver]:
        """One of PEERS, which is installed, running."""
        database = await asyncio.to_thread(postgres.create_database)
        async with aiohttp.ClientSession() as http:
            receiver = cls(PEERS[name], postgres.url(database), http)
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", receiver._answer)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            stripe, port = free_port(), free_port()
            await web.TCPSite(runner, "127.0.0.1", stripe).start()
            environment = {
                "DATABASE_URL": receiver._database,
                "PGDATABASE": database,
                "PGHOST": str(postgres.folder),
                "PGUSER": "postgres",
                "STRIPE_WEBHOOK_SECRET": _SECRET,
                "STRIPE_API_HOST": f"http://127.0.0.1:{stripe}",
                "PORT": str(port),
                "NODE_PATH": str(INSTALLED / "node_modules"),
                "PYTHONPATH": str(PROGRAMS),
            }
            path, command = await asyncio.to_thread(_command, name, environment)
            receiver._url = f"http://127.0.0.1:{port}{path}"
            with (folder / f"{name}.log").open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    *command, env={**os.environ, **environment}, stdout=log, stderr=log
                )
            try:
                await _listens(port, folder / f"{name}.log")
                yield receiver
            finally:
                process.terminate()
                await process.wait()
                await runner.cleanup()

    async def live(self, recording: Recording, given: Sequence[Script], first: int) -> list[str | None]:
        """As `HubReceiver.live`. A delivery that is refused is repeated, as by Stripe, when all is over."""
        numbers = range(first, first + len(given))
        self._recording = recording
        self._moments = dict.fromkeys(numbers, 0)
        permits = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int, script: Script) -> None:
            async with permits:
                await self._deliver(number, script.steps)

        await asyncio.gather(*[one(*pair) for pair in zip(numbers, given, strict=True)])
        return await asyncio.to_thread(self._wrong, recording, numbers)

    async def _deliver(self, number: int, steps: Sequence[Step]) -> None:
        assert self._recording is not None
        refused: list[bytes] = []
        together: list[bytes] = []
        for index, step in enumerate(steps):
            self._moments[number] = step.moment
            events = [self._recording.events[one] for one in step.events]
            together += [
                self._recording.named(event.text, number).encode()
                for event in events
                if event.type.startswith(_COMPARED)
            ]
            if index + 1 == len(steps) or not steps[index + 1].overtakes:
                answered = await asyncio.gather(*[self._post(body) for body in together])
                refused += [body for body, taken in zip(together, answered, strict=True) if not taken]
                together = []
        for _ in range(_REPEATED):
            refused = [body for body in refused if not await self._post(body)]

    async def _post(self, body: bytes) -> bool:
        now = int(time.time())
        headers = {
            "content-type": "application/json",
            "stripe-signature": f"t={now},v1={sign(body, _SECRET, now)}",
        }
        with suppress(aiohttp.ClientError):
            async with self._http.post(self._url, data=body, headers=headers) as response:
                await response.read()
                return response.status == 200
        return False

    async def _answer(self, request: web.Request) -> web.Response:
        """What Stripe says at the moment of the customer whose object is asked for; the catalog and the
        account are the same at any moment.
        """
        assert self._recording is not None
        route = find_route("GET", request.path)
        if route is None:  # a product's features, of which nothing here has any
            return web.json_response({"object": "list", "data": [], "has_more": False, "url": request.path})
        params = json.dumps(parameters.validate(decode(request.query_string), route[0].shape))
        found = [
            part for part in request.path.split("/") if "Q" in part and part.rpartition("Q")[2].isdigit()
        ]
        number = number_of(found[0])[1] if found else next(iter(self._moments))
        suffix = f"Q{number}"
        answer = self._recording.answer(
            self._moments[number], request.path.replace(suffix, ""), json.loads(params.replace(suffix, ""))
        )
        if answer is None:
            return web.json_response(
                {"error": {"type": "invalid_request_error", "message": "none"}}, status=404
            )
        return web.Response(
            body=self._recording.named(answer, number).encode(), content_type="application/json"
        )

    def _wrong(self, recording: Recording, numbers: range) -> list[str | None]:
        with psycopg.connect(self._database) as connection:
            rows = connection.execute(self._peer.stored.encode()).fetchall()
        stored = {
            object_id: facts_of(json.loads(raw) if isinstance(raw, str) else raw) for object_id, raw in rows
        }
        mine: dict[int, dict[str, tuple[Any, ...]]] = {number: {} for number in numbers}
        for object_id, facts in stored.items():
            recorded, number = number_of(object_id)
            mine.get(number, {})[recorded] = facts
        truth = recording.truth()
        return ["; ".join(differing(truth, mine[number])) or None for number in numbers]


def _command(name: str, environment: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The path of the webhook, and what runs the peer."""
    if name == "stripe-sync-engine":
        return "/webhook", ("node", str(PROGRAMS / "sync_engine.cjs"))
    python = str(INSTALLED / "venv/bin/python")
    program = "from dj_stripe_site import prepare; prepare()"
    path = _checked((python, "-c", program), environment).strip()
    bind = f"127.0.0.1:{environment['PORT']}"
    options = ("-w", "2", "--threads", "8", "--no-control-socket", "-b", bind)
    return path, (str(INSTALLED / "venv/bin/gunicorn"), *options, "dj_stripe_site:application")


def _checked(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotMeasured(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


async def _listens(port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise NotMeasured(f"it does not start: {log.read_text(errors='replace')[-300:]}") from None
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
