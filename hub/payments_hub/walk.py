"""The nightly walk: finds what neither a delivery nor the sweep of events brought.

Everything at Stripe is looked at slowly, in steps, and compared with what is stored; what differs goes into
the inbox like an event, and the worker fetches it. All subscriptions are listed every night; open checkouts
that are older than a day are fetched; the charges of every thirtieth day before are listed, because refunds
and disputes of single payments are in no list of subscriptions. The cursor is in the database, so any worker
goes on where another one ended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from payments_hub.budget import Priority, priority
from payments_hub.database import Async, Database
from payments_hub.inbox import DOUBTED, Inbox
from stripe_payments.clock import TrustedClock
from stripe_payments.errors import PaymentError
from stripe_payments.ledger.packing import unpack
from stripe_payments.ledger.storage_errors import decoded
from stripe_payments.log import Log
from stripe_payments.stripe_api import StripeAPI, is_missing
from stripe_payments.stripe_api.validation import SHAPES
from stripe_payments.stripe_api.webhook_delivery import Hint
from stripe_payments.sync.fetch import stored_form, units_of
from stripe_payments.sync.raw_fields import metadata, reference

__all__ = ["WALK_LOOK_S", "Walk"]

_log = Log("walk")

WALK_LOOK_S: Final = 300.0
"""Between two looks whether a night has begun."""
_STEP_S: Final = 2.0
_PAGE: Final = 100
_FETCHED: Final = 10
"""Objects of one step that are fetched by themselves."""
_NIGHTS: Final = 30
"""In which every charge is looked at once."""
_LOOKS: Final = 13
"""At a charge: for a year and a month. A page of a list costs as much as one charge that is fetched."""
_DAY_S: Final = 86_400
_SAID_EVERY: Final = 50
"""Steps between two lines of progress in the log."""
_LINKS: Final = frozenset({"hosted_invoice_url", "invoice_pdf", "receipt_url"})
"""Stripe signs them again for every response."""


@dataclass(frozen=True, slots=True)
class _Cursor:
    """`night`: days since 1970 as the walk counts them; `phase`: of `Walk.PHASES`, their number at the end;
    `after`: what the last step ended with.
    """

    night: int
    phase: int = 0
    after: str = ""
    steps: int = 0
    seen: int = 0
    doubted: int = 0


@dataclass(frozen=True, slots=True)
class _Step:
    """`last`: what the step ended with, empty if nothing is left."""

    seen: int
    doubted: list[Hint]
    last: str


class Walk:
    """`hour`: of the day (UTC) at which a night begins."""

    PHASES: Final = ("subscriptions", "checkouts", "charges")

    def __init__(
        self, database: Database, inbox: Inbox, stripe: StripeAPI, clock: TrustedClock, *, hour: int
    ) -> None:
        self._database = database
        self._inbox = inbox
        self._stripe = stripe
        self._clock = clock
        self._hour = hour

    async def run(self, pause: float = _STEP_S) -> None:
        """Walk to the end of this night's walk; at once back if it is over, or another worker walks."""
        more = True
        while more:
            more = await self.step()
            await asyncio.sleep(pause if more else 0)

    async def step(self) -> bool:
        """One step; whether there is another one to make here and now. Raises PaymentError."""
        now = self._clock.now()
        if now is None:
            return False
        night = (now - self._hour * 3600) // _DAY_S
        async with self._database.requests.connection() as connection, connection.transaction():
            if not await _row(
                connection, "SELECT 1 WHERE pg_try_advisory_xact_lock(hashtextextended('walk', 0))"
            ):
                return False
            row = await _row(connection, "SELECT value FROM cursors WHERE name = 'walk'")
            cursor = (
                _Cursor(**json.loads(row[0])) if row is not None else _Cursor(night - 1, len(self.PHASES))
            )
            waiting = "SELECT 1 FROM inbox WHERE outcome IS NULL AND type = 'walk' OFFSET 100 LIMIT 1"
            if await _row(connection, waiting):
                return True  # the workers are behind
            if cursor.phase == len(self.PHASES):
                if cursor.night >= night:
                    return False
                cursor = _Cursor(night)
                _log.info("nightly walk begins")
            await connection.execute("SELECT set_config('hub.account', '*', true)")
            with priority(Priority.BACKGROUND):
                step = await self._phase(cursor)(connection, cursor)
            cursor = self._after(cursor, step)
            await connection.execute(
                "INSERT INTO cursors (name, value) VALUES ('walk', %s)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (json.dumps(asdict(cursor)),),
            )
            if step.doubted:
                await self._inbox.accept_all(step.doubted)
        return cursor.phase < len(self.PHASES)

    def _phase(self, cursor: _Cursor) -> Callable[[Async, _Cursor], Any]:
        return (self._subscriptions, self._checkouts, self._charges)[cursor.phase]

    def _after(self, cursor: _Cursor, step: _Step) -> _Cursor:
        after = replace(
            cursor,
            after=step.last,
            steps=cursor.steps + 1,
            seen=cursor.seen + step.seen,
            doubted=cursor.doubted + len(step.doubted),
        )
        if not step.last:
            after = replace(after, phase=cursor.phase + 1)
        if not step.last or after.steps % _SAID_EVERY == 0:
            _log.info(
                "nightly walk ended" if after.phase == len(self.PHASES) else "nightly walk",
                phase=self.PHASES[cursor.phase],
                seen=after.seen,
                doubted=after.doubted,
            )
        return after

    async def _subscriptions(self, connection: Async, cursor: _Cursor) -> _Step:
        """A page of all subscriptions, the newest first."""
        wanted: dict[str, Any] = {"status": "all", "limit": _PAGE}
        if cursor.after:
            wanted["starting_after"] = cursor.after
        try:
            page = await self._stripe.list("subscription", wanted)
        except PaymentError as error:
            if not (cursor.after and is_missing(error)):
                raise
            return _Step(0, [], "")  # the last one was deleted, with its test clock; the rest comes tomorrow
        stored = await _stored(connection, page.data)
        ours = await _known_accounts(connection, page.data)
        doubted = [
            _hint(
                cursor.night, str(one["id"]), metadata(one).get("router_id"), reference(one.get("customer"))
            )
            for one in page.data
            if _owner(one) & ours and any(_differs(raw, stored.get(str(raw["id"]))) for raw in _parts(one))
        ]
        return _Step(len(page.data), doubted, str(page.data[-1]["id"]) if page.has_more and page.data else "")

    async def _checkouts(self, connection: Async, cursor: _Cursor) -> _Step:
        """Sessions that should have ended: Stripe ends each after a day."""
        rows = await connection.execute(
            "SELECT local_id, session_id, account FROM checkouts WHERE state = 'open'"
            " AND session_id IS NOT NULL AND created_at < %s AND local_id > %s ORDER BY local_id LIMIT %s",
            ((self._clock.now() or 0) - _DAY_S, int(cursor.after or 0), _FETCHED),
        )
        return _fetched(cursor.night, [(str(row[0]), row[1], row[2]) for row in await rows.fetchall()])

    async def _charges(self, connection: Async, cursor: _Cursor) -> _Step:
        """A page of the charges of one day; `cursor.after`: how many times `_NIGHTS` ago that day was, and
        the last charge of the page before.
        """
        look, _blank, last = cursor.after.partition(" ")
        number = int(look) if look.isdigit() else 1
        begins = (cursor.night - number * _NIGHTS) * _DAY_S + self._hour * 3600
        wanted: dict[str, Any] = {"created": {"gte": begins, "lt": begins + _DAY_S}, "limit": _PAGE}
        if last:
            wanted["starting_after"] = last
        page = await self._stripe.list("charge", wanted)
        stored = await _stored(connection, page.data)
        doubted = [
            _hint(cursor.night, str(one["id"]), None, reference(one.get("customer")))
            for one in page.data
            if str(one["id"]) in stored
            and (one.get("disputed") or any(_differs(raw, stored.get(str(raw["id"]))) for raw in _parts(one)))
        ]
        if page.has_more and page.data:
            return _Step(len(page.data), doubted, f"{number} {page.data[-1]['id']}")
        return _Step(len(page.data), doubted, f"{number + 1} " if number < _LOOKS else "")


def _fetched(night: int, rows: list[tuple[str, str, str]]) -> _Step:
    """Of the cursor's position, the object and the account of each row."""
    hints = [_hint(night, object_id, account, None) for _position, object_id, account in rows]
    return _Step(len(rows), hints, rows[-1][0] if len(rows) == _FETCHED else "")


def _hint(night: int, object_id: str, owner: str | None, customer: str | None) -> Hint:
    return Hint(f"{DOUBTED}_{night}_{object_id}", DOUBTED, object_id, owner, customer)


def _owner(subscription: Mapping[str, Any]) -> set[str]:
    """What may name its account: a router id, a customer."""
    named = (metadata(subscription).get("router_id"), reference(subscription.get("customer")))
    return {name for name in named if name}


def _differs(seen: Mapping[str, Any], stored: Mapping[str, Any] | None) -> bool:
    """Whether a response says anything that counts here and is not stored."""
    if stored is None:
        return True
    names = set(SHAPES.get(str(seen.get("object")), ())) - _LINKS
    return any(seen.get(name) != stored.get(name) for name in names)


def _parts(listed: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The object and what is expanded in it, as they are stored."""
    return stored_form(units_of(listed, 0.0))


async def _stored(connection: Async, listed: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What is stored of objects and of what is expanded in them, by id."""
    ids = [str(raw["id"]) for one in listed for raw in _parts(one)]
    rows = await connection.execute("SELECT id, packed FROM objects WHERE id = ANY(%s)", (ids,))
    return {row[0]: decoded(unpack(bytes(row[1]))) for row in await rows.fetchall()}


async def _known_accounts(connection: Async, subscriptions: Iterable[Mapping[str, Any]]) -> set[str]:
    """Ids and customers of the accounts here that subscriptions name."""
    named = sorted(set[str]().union(*[_owner(one) for one in subscriptions]))
    rows = await connection.execute(
        "SELECT id, customer FROM accounts WHERE id = ANY(%(named)s) OR customer = ANY(%(named)s)",
        {"named": named},
    )
    return {name for row in await rows.fetchall() for name in row if name}


async def _row(connection: Async, query: str) -> tuple[Any, ...] | None:
    return await (await connection.execute(query)).fetchone()
