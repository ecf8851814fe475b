"""What Stripe answers, changed into anything: every call returns a documented error or a right answer,
nothing that was not paid unlocks, and once the answers are genuine again, so is everything here.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from random import Random
from typing import Any, Self

from campaigns.attack.answering_stripe import AnsweringStripe, Change
from campaigns.attack.complaints import listening
from campaigns.attack.fuzzing import Target
from campaigns.attack.json_mutations import DELETED, JUNK, at, paths
from campaigns.attack.stripe_calls import CALLS, Past, paid_for, unlocked_by
from simulator.stripe_cloud import StripeCloud
from stripe_payments.errors import PaymentError
from tests.unit.stripe_payments.engine import Engine, stocked_cloud
from ubus_py import UbusError
from ubus_py.blobmsg import encode_table

__all__ = ["StripeAnswers"]

_DAEMON = Path(__file__).parents[2] / "daemon/stripe_payments"
_READ = re.compile(r"(?:\.get\(|\[)\"([a-z_]+)\"")
_LONGEST_ANSWER = 1 << 20

_BODIES = (
    "",
    "null",
    "[]",
    '"text"',
    "{",
    '{"error": null}',
    '{"error": []}',
    '{"error": "invalid_request"}',
    '{"error": {"code": ["x"], "message": {"a": 1}, "type": 7, "param": {}}}',
    '{"object": "list", "data": null}',
    '{"object": "list", "data": {"a": 1}, "has_more": "x"}',
    '{"id": NaN}',
    '{"id": "\\ud800", "object": "\\u0000"}',
    "<html><body>Log in to the hotel's Wi-Fi</body></html>",
    "<html>" + "x" * 2_000_000,
    '{"a":' * 2000 + "1" + "}" * 2000,
    "9" * 5000,
    "\udcff\udcfe",
)
_STATUSES = (200, 201, 204, 304, 400, 401, 402, 403, 404, 409, 418, 429, 500, 503)
_HEADERS = (
    ("Date", "Mon, 32 Foo 99999 25:61:61 GMT"),
    ("Date", "Thu, 01 Jan 0000 00:00:00 GMT"),
    ("Date", "-"),
    ("Retry-After", "1e9"),
    ("Retry-After", "-1"),
    ("Retry-After", "9" * 400),
    ("Retry-After", "Mon, 32 Foo 99999 25:61:61 GMT"),
    ("Request-Id", "req_" + "x" * 5000),
    ("Stripe-Notice", "read this"),
    ("Content-Type", "text/html; charset=utf-16"),
    ("Idempotent-Replayed", "maybe"),
)


class StripeAnswers(Target):
    """An input is JSON: `{"call": NAME, "changes": [{"request", "places", "body", "status", "headers"}]}`."""

    name = "stripe-answers"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._recorded: dict[str, list[Any]] = {}
        source = "".join(file.read_text() for file in sorted(_DAEMON.rglob("*.py")))
        self._fields = frozenset(_READ.findall(source))

    async def __aenter__(self) -> Self:
        self._complaints = self.stack.enter_context(listening())
        self._cloud: StripeCloud = await self.stack.enter_async_context(stocked_cloud())
        self._proxy = await self.stack.enter_async_context(AnsweringStripe(self._cloud.url))
        self._cloud.url = self._proxy.url
        engine = await Engine.open(self._cloud, self.folder)
        self.stack.push_async_callback(engine.close)
        self._past = Past(engine, self._cloud, self.folder)
        await self._past.live_it()
        for name, call in CALLS.items():
            self._proxy.begin()
            with contextlib.suppress(PaymentError):
                await call(self._past)
            self._recorded[name] = self._proxy.answers
        return self

    async def attempt(self, given: bytes) -> str | None:
        wanted = json.loads(given)
        if not isinstance(wanted, dict) or wanted.get("call") not in CALLS:
            return None
        engine = self._past.engine
        router_id = engine.identity.load().router_id
        before, paid = await unlocked_by(engine), paid_for(self._cloud, router_id, engine)
        changes = [change for one in wanted.get("changes", ()) if (change := Change.read(one)) is not None]
        self._proxy.begin(changes)
        problem = await self._call(wanted["call"])
        self._proxy.begin()
        paid |= paid_for(self._cloud, router_id, engine)
        if wrong := await unlocked_by(engine) - before - paid:
            problem = problem or f"unlocked without being paid for: {sorted(wrong)}"
        return problem or self._complaints.taken() or await self._poisoned()

    async def _call(self, name: str) -> str | None:
        try:
            answer = await CALLS[name](self._past)
        except PaymentError as error:
            answer = error.body("it")
        return _unsendable(answer)

    async def _poisoned(self) -> str | None:
        """Whether something was stored that the history, the lists or the pages cannot show."""
        engine = self._past.engine
        for answer in (
            {"subscriptions": await engine.subscriptions.list("it")},
            await engine.history.page(100),
            {"detail": engine.stripe.state.detail},
        ):
            if (problem := _unsendable(answer)) is not None:
                return f"what was stored cannot be shown: {problem}"
        return None

    async def aftermath(self) -> str | None:
        """Once every answer is genuine again, one full look puts everything right."""
        engine = self._past.engine
        self._proxy.begin()
        await self._past.few_rounds()
        await engine.reconciler.sync(self._past.ids["subscription"], "attack")
        paid = paid_for(self._cloud, engine.identity.load().router_id, engine)
        held = await unlocked_by(engine)
        if held - paid or {name for name, _ in held} != {name for name, _ in paid}:
            return f"unlocked {sorted(held)}, paid for {sorted(paid)}"
        return self._complaints.taken() or await self._poisoned()

    # -- inputs ------------------------------------------------------------------------------------

    def mutate(self, chance: Random, given: bytes) -> bytes:
        wanted: dict[str, Any] = json.loads(given)
        if chance.random() < 0.3 or wanted.get("call") not in CALLS:
            wanted = {"call": chance.choice(list(CALLS)), "changes": []}
        changes = wanted.setdefault("changes", [])
        recorded = self._recorded.get(wanted["call"]) or [None]
        request = chance.randrange(len(recorded))
        change: dict[str, Any] = {"request": request}
        match chance.randrange(8):
            case 0:
                change["body"] = chance.choice(_BODIES)
                change["status"] = chance.choice(_STATUSES)
            case 1:
                change["headers"] = dict([chance.choice(_HEADERS)])
                change["status"] = chance.choice(_STATUSES)
            case _:
                change["places"] = [
                    self._place(chance, recorded[request]) for _ in range(chance.choice((1, 1, 3)))
                ]
        wanted["changes"] = [*changes, change][-3:]
        return json.dumps(wanted).encode()

    def _place(self, chance: Random, answer: Any) -> list[Any]:
        """A place in an answer, mostly one that the daemon reads, and what to put there."""
        found = [path for path in paths(answer) if path]
        read = [path for path in found if path[-1] in self._fields]
        path = chance.choice(read if read and chance.random() < 0.75 else found or [()])
        here = at(answer, path)
        value: Any = chance.choice((*JUNK, DELETED, DELETED, DELETED, DELETED))
        if isinstance(here, bool) and isinstance(value, bool):
            value = "yes"  # a refund that is denied by a true value would be Stripe's own lie
        return [list(path), value]


def _unsendable(answer: object) -> str | None:
    """Why the bus could not carry an answer, None if it could."""
    if answer is None:
        return None
    try:
        size = len(encode_table(answer))  # type: ignore[arg-type]
    except UbusError as error:
        return f"an answer that the bus cannot carry: {error}"
    return f"an answer of {size} bytes" if size > _LONGEST_ANSWER - 4096 else None
