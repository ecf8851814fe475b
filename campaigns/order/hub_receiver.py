"""The hub as a receiver: its own intake, worker and payment rules on PostgreSQL. Only the two networks are
not there: deliveries are given to the web application, and Stripe's answers come from the recording.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import psycopg
from starlette.types import ASGIApp, Message

from campaigns.order.recording import Recording, differing, facts_of, number_of, router_id
from campaigns.order.sequences import Script, Step
from payments_hub.accounts import Accounts
from payments_hub.config import Config
from payments_hub.database import migrate
from payments_hub.hub import Hub, HubClock
from payments_hub.statements import rotate_keys
from payments_hub.web import create_app
from payments_hub.worker import Worker
from simulator.postgres import PostgreSQL
from simulator.stripe_cloud.account import API_VERSION
from stripe_payments.ledger.packing import unpack
from stripe_payments.ledger.storage_errors import decoded
from stripe_payments.settings import Settings
from stripe_payments.stripe_api import Page, sign
from stripe_payments.stripe_api.resources import RESOURCES, object_kind
from tests.histories.reference import Decision

__all__ = ["HubReceiver"]

_SECRET: Final = "whsec_of_the_order_bench"
_NUMBER: Final = re.compile(r'Q(\d+)(?=")')
_TABLES: Final = "inbox, objects, features, outbox, meta, history, checkouts, cursors, accounts"
_PAGE: Final = 100


class _Clock(HubClock):
    """Stands at the end of the life that is delivered."""

    at = 0

    def now(self) -> int:
        return self.at


class _Stripe:
    """What the worker needs of `StripeAPI`. `moments`: of each customer; `arriving`: of each, ids of objects,
    and what arrives while the next answer about one of them is on its way, which is as old as the moment
    before.
    """

    def __init__(self) -> None:
        self.recording: Recording | None = None
        self.moments: dict[int, int] = {}
        self.arriving: dict[int, tuple[set[str], Callable[[], Awaitable[None]]]] = {}
        self.reads = 0

    async def api_version(self) -> str:
        return API_VERSION

    async def retrieve(self, object_id: str) -> dict[str, Any] | None:
        kind = object_kind(object_id)
        assert kind is not None
        recorded, number = number_of(object_id)
        resource = RESOURCES[kind]
        return await self._sent(number, f"{resource.path}/{recorded}", {"expand": list(resource.expand)})

    async def list(self, kind: str, params: Mapping[str, Any]) -> Page:
        if kind == "event":
            return self._events(params)
        resource = RESOURCES[kind]
        wanted = {"expand": [f"data.{path}" for path in resource.expand], **params}
        text = json.dumps(wanted)
        found = _NUMBER.search(text)
        assert found is not None, text
        page = await self._sent(int(found[1]), resource.path, json.loads(_NUMBER.sub("", text)))
        assert page is not None
        return Page(page["data"], page["has_more"])

    async def _sent(self, number: int, path: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
        assert self.recording is not None
        self.reads += 1
        answer = self.recording.answer(self.moments[number], path, params)
        objects, arrives = self.arriving.get(number, (set(), None))
        if arrives is not None and path.rpartition("/")[2] in objects:
            del self.arriving[number]
            await arrives()
        return None if answer is None else json.loads(self.recording.named(answer, number))

    def _events(self, params: Mapping[str, Any]) -> Page:
        """Of all customers, the newest first."""
        assert self.recording is not None
        self.reads += 1
        wanted, created = set(params["types"]), params["created"]
        events = [
            one
            for one in self.recording.events[::-1]
            if one.type in wanted and created["gte"] <= one.created <= created["lte"]
        ]
        ordered = [(one, number) for one in events for number in self.moments]
        ids = [f"{one.id}Q{number}" for one, number in ordered]
        after = ids.index(params["starting_after"]) + 1 if "starting_after" in params else 0
        page = ordered[after : after + _PAGE]
        data = [json.loads(self.recording.named(one.text, number)) for one, number in page]
        return Page(data, len(ordered) > after + _PAGE)


class _Catalogs:
    """The catalog of the life that is delivered."""

    def __init__(self) -> None:
        self.held: Settings | None = None

    async def current(self) -> None:
        """In force already."""

    def settings(self) -> Settings:
        assert self.held is not None
        return self.held


class HubReceiver:
    """Use `open`."""

    name = "hub"

    def __init__(
        self, app: ASGIApp, workers: Sequence[Worker], clock: _Clock, stripe: _Stripe, catalogs: _Catalogs
    ) -> None:
        self._app = app
        self._workers = workers
        self._clock = clock
        self._stripe = stripe
        self._catalogs = catalogs
        self._database: psycopg.Connection[Any]

    @classmethod
    @asynccontextmanager
    async def open(cls, postgres: PostgreSQL, folder: Path) -> AsyncIterator[HubReceiver]:
        """With two workers, as if in two processes."""
        name = await asyncio.to_thread(postgres.create_database)
        url = postgres.url(name, "hub")
        await asyncio.to_thread(migrate, url)
        keys = folder / "signing-keys.json"
        rotate_keys(keys)
        config = Config(url, "https://hub.example.org", "sk_test_of_the_order_bench", _SECRET, keys)
        clock, stripe, catalogs = _Clock(), _Stripe(), _Catalogs()

        def worker(hub: Hub) -> Worker:
            parts = (cast(Any, stripe), clock, cast(Any, catalogs))
            accounts = Accounts(hub.database, *parts)
            return Worker(hub.database, accounts, parts[2], parts[0], clock)

        async with Hub.open(config) as hub, Hub.open(config) as other:
            app = create_app(replace(hub, clock=clock), "webhook")
            receiver = cls(app, [worker(hub), worker(other)], clock, stripe, catalogs)
            with psycopg.connect(postgres.url(name), autocommit=True) as receiver._database:
                async with app.router.lifespan_context(app):
                    yield receiver

    @property
    def reads(self) -> int:
        """Requests to Stripe so far."""
        return self._stripe.reads

    async def live(self, recording: Recording, given: Sequence[Script], first: int) -> list[str | None]:
        """Deliver a life in each of these orders to a customer of its own, numbered from `first`: of each,
        what is wrong in the end.
        """
        numbers = range(first, first + len(given))
        self._clock.at = recording.now
        self._catalogs.held = recording.settings
        self._stripe.recording = recording
        self._stripe.moments = dict.fromkeys(numbers, 0)
        self._stripe.arriving.clear()
        await asyncio.to_thread(self._begin, recording, numbers)
        for index in range(max(len(script.steps) for script in given)):
            now: list[Awaitable[None]] = []
            for number, script in zip(numbers, given, strict=True):
                self._step(script.steps, index, number, now)
            await asyncio.gather(*now)
            await self._work(together=index % 4 == 3)
        whole = {number for number, script in zip(numbers, given, strict=True) if script.kind != "lost"}
        wrong = await asyncio.to_thread(self._wrong, recording, whole)
        for worker in self._workers:
            await worker.sweep(behind=0)
        await self._work(together=True)
        wrong |= await asyncio.to_thread(self._wrong, recording, set(numbers) - whole)
        return [wrong.get(number) for number in numbers]

    def _step(self, steps: Sequence[Step], index: int, number: int, now: list[Awaitable[None]]) -> None:
        """Add what is delivered now to `now`, and set what arrives while that is being worked on."""
        if index < len(steps) and (
            index == 0 or not steps[index].overtakes or number in self._stripe.arriving
        ):
            self._stripe.arriving.pop(number, None)  # Stripe was not asked for what it is about
            now.append(self._deliver(number, steps[index]))
        if index + 1 < len(steps) and (following := steps[index + 1]).overtakes:
            assert self._stripe.recording is not None
            objects = {self._stripe.recording.events[one].object_id for one in following.events}
            self._stripe.arriving[number] = (objects, lambda: self._deliver(number, following))

    async def _deliver(self, number: int, step: Step) -> None:
        recording = self._stripe.recording
        assert recording is not None
        self._stripe.moments[number] = step.moment
        bodies = [recording.named(recording.events[one].text, number).encode() for one in step.events]
        await asyncio.gather(*[self._post(body) for body in bodies])

    async def _post(self, body: bytes) -> None:
        signature = f"t={self._clock.at},v1={sign(body, _SECRET, self._clock.at)}"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/stripe/webhook",
            "raw_path": b"/stripe/webhook",
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"stripe-signature", signature.encode()),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        statuses: list[int] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await self._app(scope, receive, send)
        assert statuses == [200], statuses

    async def _work(self, *, together: bool) -> None:
        """Until nothing is due; `together`: both workers at the same time."""
        workers = self._workers if together else self._workers[:1]
        while True:
            await asyncio.gather(*[worker.work() for worker in workers])
            row = await asyncio.to_thread(
                self._rows, "SELECT event_id, error FROM inbox WHERE outcome IS NULL"
            )
            if not row:
                return
            assert all(error is None for _event, error in row), row[:5]
            await asyncio.sleep(0.01)

    # -- the database -----------------------------------------------------------------------------

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._database.execute(query.encode(), values).fetchall()

    def _begin(self, recording: Recording, numbers: range) -> None:
        """Customers who have enrolled and begun to buy; the last sweep was before all of it."""
        self._database.execute(f"TRUNCATE {_TABLES} CASCADE".encode())
        self._database.execute(
            "INSERT INTO accounts (id, customer) SELECT * FROM unnest(%s::text[], %s::text[])",
            ([router_id(one) for one in numbers], [f"{recording.customer}Q{one}" for one in numbers]),
        )
        before = recording.events[0].created - 1
        self._database.execute("INSERT INTO cursors (name, value) VALUES ('events', %s)", (str(before),))

    def _wrong(self, recording: Recording, numbers: set[int]) -> dict[int, str]:
        """What is stored of these customers and differs from what Stripe says."""
        accounts = [router_id(one) for one in numbers]
        features: dict[int, dict[str, Decision]] = {number: {} for number in numbers}
        for account, feature, *decision in self._rows(
            "SELECT account, feature, unlocked, reason, until FROM features WHERE account = ANY(%s)", accounts
        ):
            features[int(account, 16)][feature] = cast(Decision, tuple(decision))
        objects: dict[int, dict[str, tuple[Any, ...]]] = {number: {} for number in numbers}
        for object_id, packed in self._rows(
            "SELECT id, packed FROM objects WHERE account = ANY(%s) AND id ~ '^(sub|ch|py)_'", accounts
        ):
            recorded, number = number_of(object_id)
            objects[number][recorded] = facts_of(decoded(unpack(bytes(packed))))
        found = {}
        expected, truth = recording.expected[recording.last], recording.truth()
        for number in numbers:
            wrong = [*_decided(expected, features[number]), *differing(truth, objects[number])]
            if wrong:
                found[number] = "; ".join(wrong)
        return found


def _decided(expected: Mapping[str, Decision], stored: Mapping[str, Decision]) -> list[str]:
    """What differs; a feature that was never unlocked may have no row."""
    return [
        f"{name} is {stored.get(name)} and not {decision}"
        for name, decision in expected.items()
        if stored.get(name, (False, "none", None)) != decision
    ]
