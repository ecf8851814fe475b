"""`Reconciler.sync(id)`: the one way in which Stripe's state enters the router.

    fetch → store → parse → project → diff → outbox

All but the fetch is one ledger transaction: objects, entitlements, notifications in the outbox, the
checkout's state and the inbox event's end are stored together or not at all. Whatever the occasion (webhook,
poll, success page, bus call, start), in whatever order and however often, the result is that of the newest
fetch.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.clock import META_CLOCK_FLOOR
from stripe_payments.ledger.opening import META_MUST_NOT_LOCK, META_REBUILDING
from stripe_payments.log import Log
from stripe_payments.settings import Settings
from stripe_payments.stripe_api import StripeAPI, object_kind
from stripe_payments.sync.archiving import archive, not_archived
from stripe_payments.sync.fetch import FOLLOWED, Fetcher, Unit, stored_form, units_owned_by
from stripe_payments.sync.projection import State, diff, project
from stripe_payments.sync.stripe_objects import parse_objects

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.entitlements import Entitlement
    from stripe_payments.identity import Identity, IdentityStore
    from stripe_payments.ledger import CheckoutState, Ledger, Transaction

__all__ = ["META_LAST_CONTACT", "META_REBUILDING", "Reconciler", "SyncOutcome"]

_log = Log("reconcile")

META_LAST_CONTACT: Final = "last_contact"
"""Ledger meta: when Stripe last answered, trusted epoch seconds; at most an hour behind."""
META_LAST_SEEN: Final = "last_seen"
"""Ledger meta: when Stripe last showed each running subscription, JSON of trusted epoch seconds by its id; as
far behind. An answer of another account, or about something else, says nothing of a subscription.
"""

_PERSIST_EVERY: Final = 3600
_REFETCHES: Final = 3
_STORED_AT_KEPT: Final = 600.0
"""Seconds for which it is known when an object was stored; no request takes as long."""

Fetch = asyncio.Task[list[Unit]]
"""The units that an object leads to, being fetched."""

_STATES: Final[dict[str, CheckoutState]] = {"open": "open", "complete": "complete", "expired": "expired"}


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """The result of a sync.

    status: applied (something of ours was there), foreign (another router's), missing (Stripe has no such
    object), ignored (an object of a kind that is not followed). changed: the names of the features that were
    unlocked or locked, or whose details changed. overtaken: newer responses were stored during each of the
    fetches, so that the inbox events are not finished.
    """

    changed: tuple[str, ...] = ()
    status: str = "ignored"
    ours: bool = False
    overtaken: bool = False


@dataclass(slots=True)
class _Overtaken:
    """Units whose fetch began before a newer answer for the same object was stored, and that differ from it:
    to be fetched again.
    """

    ids: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Written:
    """What one transaction made: the state, and whether the outbox has news."""

    serial: int
    state: State
    changed: tuple[str, ...] = ()
    news: bool = False


class Reconciler:
    """`state` is the projection as of the last commit, in memory, for every reader: none of them waits for
    flash or network. `on_effects` is called with every feature after a commit that queued something, once
    `state` is updated: a listener that reacts to an unlock event by calling `has` gets the new state.
    """

    def __init__(
        self,
        ledger: Ledger,
        stripe: StripeAPI,
        clock: TrustedClock,
        settings: Callable[[], Settings],
        identity: IdentityStore,
        on_effects: Callable[[Mapping[str, Entitlement]], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._settings = settings
        self._identity = identity
        self._on_effects = on_effects
        self._fetcher = Fetcher(stripe)
        self._written = _Written(0, State())
        self._start = uuid.uuid4().hex[:12]
        self._last_contact: int | None = None
        self._persisted_contact: int | None = None
        # touched in the ledger's thread alone
        self._stored_at: dict[str, float] = {}
        self._last_seen: dict[str, int] = {}
        self._serial = 0
        self._projected = State()

    @property
    def state(self) -> State:
        """What is paid for, as of the last commit; empty before `load`."""
        return self._written.state

    @property
    def revision(self) -> str:
        """Another one for each state, also of an earlier run of the daemon."""
        return f"{self._start}-{self._written.serial}"

    @property
    def identity(self) -> Identity:
        """Who this router is, as every question of ownership is decided."""
        return self._identity.load()

    @property
    def last_sync(self) -> int | None:
        """Trusted epoch seconds at which Stripe last answered a sync or a poll; None before the first one."""
        return self._last_contact

    def unseen_s(self, subscription_id: str) -> int:
        """For how many seconds Stripe has answered without showing a subscription."""
        seen, contact = self._last_seen.get(subscription_id), self._last_contact
        return 0 if seen is None or contact is None else max(0, contact - seen)

    async def load(self) -> None:
        """Read what the ledger holds. Call once, before anything else."""

        def load(tx: Transaction) -> tuple[str | None, _Written]:
            contact, state = tx.meta.get(META_LAST_CONTACT), self._before(tx, self._settings())
            seen = tx.meta.get(META_LAST_SEEN)
            if seen is not None:
                self._last_seen = json.loads(seen)
            elif contact and contact.isdigit():  # a ledger from before this was recorded
                self._last_seen = dict.fromkeys((one.id for one in state.running), int(contact))
            return contact, self._result(state)

        found, written = await self._ledger.read(load)
        self._committed(written)
        if found and found.isdigit():
            self._last_contact = self._persisted_contact = int(found)

    def begin_fetch(self, object_id: str) -> Fetch | None:
        """Begin what `sync` begins with; None for an object of a kind that is not followed. It changes no
        state, and may be cancelled.
        """
        if object_kind(object_id) not in FOLLOWED:
            return None
        fetch = asyncio.ensure_future(self._fetch(object_id))
        fetch.add_done_callback(_retrieve_error)
        return fetch

    async def sync(
        self,
        object_id: str,
        reason: str = "",
        *,
        event_ids: Sequence[str] = (),
        fetch: Fetch | None = None,
    ) -> SyncOutcome:
        """Fetch what `object_id` leads to and apply it; finishes the given inbox events in the same
        transaction. `fetch`: one that was begun after these events were received.

        Raises PaymentError where Stripe cannot be reached; nothing has changed then.
        """
        if object_kind(object_id) not in FOLLOWED:
            return await self._apply([], reason, event_ids, "ignored")
        for _ in range(_REFETCHES):
            units = await (fetch or self._fetch(object_id))
            fetch = None
            self._contacted()
            overtaken = _Overtaken()
            outcome = await self._apply(units, reason, event_ids, "missing", overtaken)
            if not overtaken.ids:
                return outcome
        return replace(outcome, overtaken=True)

    async def apply(
        self, units: Iterable[Unit], reason: str, *, along: Callable[[Transaction], None] | None = None
    ) -> SyncOutcome:
        """Apply objects that came in a list, or as the answer to a request; those that were overtaken
        meanwhile are fetched by themselves, and what is archived is not stored again. `along`: what is
        written first, in the same transaction.
        """
        self._contacted()
        overtaken = _Overtaken()
        outcome = await self._apply(list(units), reason, (), "ignored", overtaken, along, listed=True)
        changed = list(outcome.changed)
        for object_id in overtaken.ids:
            changed.extend((await self.sync(object_id, reason)).changed)
        return SyncOutcome(tuple(dict.fromkeys(changed)), outcome.status, outcome.ours)

    async def recompute(self) -> tuple[str, ...]:
        """Project again from what the ledger holds: after a change of settings, at the start, as time
        passes. Returns the names of the features that changed.
        """
        settings, now = self._settings(), self._clock.now()

        def run(tx: Transaction) -> _Written:
            return self._project(tx, self._before(tx, settings), settings, now)

        return self._committed(await self._ledger.write(run)).changed

    async def rebuilt(self) -> None:
        """Everything has been fetched from Stripe again: from here on features may lock."""

        def run(tx: Transaction) -> bool:
            if tx.meta.get(META_REBUILDING) is None:
                return False
            tx.meta.delete(META_REBUILDING)
            tx.meta.delete(META_MUST_NOT_LOCK)
            return True

        if await self._ledger.write(run):
            _log.info("the ledger has been rebuilt from Stripe")
            await self.recompute()

    async def archive(self, unchanged_since: int) -> int:
        """Store no longer what is old and has not changed since a time (trusted epoch seconds), but for its
        lines in the history and what it unlocks. Returns the number of objects.
        """
        settings = self._settings()

        def run(tx: Transaction) -> int:
            old = archive(self._before(tx, settings), tx.objects.unchanged_since(unchanged_since), settings)
            if old.gone:
                tx.objects.delete(old.gone)
                tx.objects.put(old.purchases, 0)
                tx.history.put(old.rows)
            return len(old.gone)

        archived = await self._ledger.write(run)
        if archived:
            await self.recompute()
        return archived

    async def _fetch(self, object_id: str) -> list[Unit]:
        return await self._fetcher.fetch(object_id, self.state.dispute(object_id))

    # -- one transaction --------------------------------------------------------------------------

    async def _apply(
        self,
        units: Sequence[Unit],
        reason: str,
        event_ids: Sequence[str],
        otherwise: str,
        overtaken: _Overtaken | None = None,
        along: Callable[[Transaction], None] | None = None,
        *,
        listed: bool = False,
    ) -> SyncOutcome:
        settings, now, identity = self._settings(), self._clock.now(), self._identity.load()
        contact = self._last_contact

        def run(tx: Transaction) -> tuple[SyncOutcome, _Written]:
            if along is not None:
                along(tx)
            before = self._before(tx, settings)
            own = units_owned_by(identity.router_id, identity.customer, units)
            newest = [unit for unit in own if self._stored_at.get(unit.root["id"], 0.0) <= unit.started]
            stored = self._store(tx, newest, now, (before, settings) if listed else None)
            if contact is not None:
                shown = [unit.root["id"] for unit in own if unit.root["object"] == "subscription"]
                self._last_seen.update(dict.fromkeys(shown, contact))
            written = self._project(tx, before, settings, now) if own else self._result(before)
            late = [str(unit.root["id"]) for unit in own if unit not in newest and not _is_stored(tx, unit)]
            if overtaken is not None:
                overtaken.ids.extend(late)
            status = "applied" if own else "foreign" if units else otherwise
            if not late:
                for event_id in event_ids:
                    tx.inbox.finish(event_id, status)
            self._persist_contact(tx, contact, force=stored or written.news)
            return SyncOutcome(written.changed, status, bool(own)), written

        outcome, written = await self._ledger.write(run)
        self._committed(written)
        if outcome.changed:
            _log.info("features changed", features=",".join(outcome.changed), reason=reason)
        elif outcome.status == "missing":
            _log.info("object does not exist at Stripe", reason=reason)
        return outcome

    def _store(
        self, tx: Transaction, units: Sequence[Unit], now: int | None, archived: tuple[State, Settings] | None
    ) -> bool:
        """Store the units' objects, and the state of the checkouts that they belong to; whether anything
        differs from before. `archived`: the state before, where what is archived is left out.
        """
        sessions = [unit.root for unit in units if unit.root["object"] == "checkout.session"]
        changed = [session["id"] for session in sessions if _store_checkout_state(tx, session)]
        offers = [session["id"] for session in sessions if _is_mere_offer(tx, session)]
        stored: list[Mapping[str, Any]] = []
        for unit in units:
            if unit.root["id"] not in offers:
                objects = stored_form([unit])
                stored += not_archived(unit.root, objects, *archived) if archived is not None else objects
        differs = tx.objects.put(stored, now or 0) or bool(changed)
        self._stored_at.update(dict.fromkeys((unit.root["id"] for unit in units), time.monotonic()))
        self._forget_old_fetches()
        return differs

    def _before(self, tx: Transaction, settings: Settings) -> State:
        """The state before this transaction. It is projected again only if the objects are not those of the
        last one: at the start, and after a transaction that was rolled back.
        """
        objects, features = tx.objects.all(), tx.features.all()
        if self._projected.parsed.raw is objects:
            return replace(self._projected, entitlements=features)
        parsed = parse_objects(objects)
        state = project(parsed, settings, None, last_seen={}, previous=features, archived=tx.history.all())
        return replace(state, entitlements=features)

    def _project(self, tx: Transaction, before: State, settings: Settings, now: int | None) -> _Written:
        """Project what is stored now, and queue what differs from `before`."""
        rebuilding = tx.meta.get(META_REBUILDING) is not None
        after = project(
            parse_objects(tx.objects.all(), before.parsed),
            settings,
            now,
            last_seen=self._last_seen,
            previous=before.entitlements,
            grants=tx.grants.all(),
            # the features of UCI, until all has been fetched from Stripe again
            must_not_lock=(tx.meta.get(META_MUST_NOT_LOCK) or "").split(",") if rebuilding else (),
            archived=tx.history.all(),
        )
        tx.features.replace(after.entitlements)
        news = diff(before, after, settings, now, rebuilding=rebuilding)
        for kind, payload in news:
            tx.outbox.add(kind, payload)
        changed = tuple(str(payload["feature"]) for kind, payload in news if kind == "feature")
        return self._result(after, changed, news=bool(news))

    def _result(self, state: State, changed: tuple[str, ...] = (), *, news: bool = False) -> _Written:
        self._projected = state
        self._serial += 1
        return _Written(self._serial, state, changed, news)

    def _persist_contact(self, tx: Transaction, contact: int | None, *, force: bool) -> None:
        """With something else to write, or once an hour: flash wears, and these may lag."""
        if contact is None:
            return
        persisted = self._persisted_contact
        if not force and persisted is not None and 0 <= contact - persisted < _PERSIST_EVERY:
            return
        tx.meta.set(META_LAST_CONTACT, str(contact))
        running = [one.id for one in self._projected.running]
        self._last_seen = {name: at for name, at in self._last_seen.items() if name in running}
        tx.meta.set(META_LAST_SEEN, json.dumps(self._last_seen))
        floor = self._clock.floor
        if floor is not None:
            tx.meta.set(META_CLOCK_FLOOR, str(floor))
        self._persisted_contact = contact

    def _forget_old_fetches(self) -> None:
        if len(self._stored_at) > 256:
            now = time.monotonic()
            self._stored_at = {
                object_id: at for object_id, at in self._stored_at.items() if now - at < _STORED_AT_KEPT
            }

    # -- after the commit -------------------------------------------------------------------------

    def _contacted(self) -> None:
        now = self._clock.now()
        if now is not None:
            self._last_contact = now

    def _committed(self, written: _Written) -> _Written:
        if written.serial > self._written.serial:
            self._written = written
        if written.news:
            self._on_effects(self.state.entitlements)
        return written


def _retrieve_error(fetch: Fetch) -> None:
    """The error of a fetch that was discarded is not one that nothing handled."""
    if not fetch.cancelled():
        fetch.exception()


def _is_stored(tx: Transaction, unit: Unit) -> bool:
    """Whether everything in the unit is what is stored already: the events of one payment name its session,
    its payment intent and its charge, which are all fetched as the session.
    """
    return all(tx.objects.get(str(raw["id"])) == raw for raw in stored_form([unit]))


def _store_checkout_state(tx: Transaction, session: Mapping[str, Any]) -> bool:
    """Whether the state of the session's checkout changed."""
    checkout = tx.checkouts.by_session(str(session["id"]))
    state = _STATES.get(str(session.get("status")))
    if checkout is None or state is None or checkout.state == state:
        return False
    tx.checkouts.update(checkout.local_id, state=state)
    return True


def _is_mere_offer(tx: Transaction, session: Mapping[str, Any]) -> bool:
    """A session without an attempt to pay it says nothing that its checkout does not: no flash for it."""
    untouched = session.get("status") in ("open", "expired") and not any(
        session.get(name) for name in ("payment_intent", "subscription", "invoice", "setup_intent")
    )
    return (
        untouched
        and tx.objects.get(str(session["id"])) is None
        and tx.checkouts.by_session(str(session["id"])) is not None
    )
