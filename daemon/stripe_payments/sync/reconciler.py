"""`Reconciler.sync(id)`: the one way in which Stripe's state enters the router.

Fetch, then one ledger transaction: raw objects, derived rows, entitlements, effects in the outbox, the
checkout's state and the inbox event's end stand or fall together. Whoever calls (webhook, poll, success page,
a person, the start), in whatever order and however often, the result is that of the newest fetch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stripe_payments.ledger.opening import META_HELD, META_REBUILDING
from stripe_payments.log import Log
from stripe_payments.settings import Settings
from stripe_payments.stripe_api import StripeAPI, object_kind
from stripe_payments.sync.applying import Applied, Book, apply_unit, recompute, settle
from stripe_payments.sync.fetch import FOLLOWED, Fetcher, Unit
from stripe_payments.sync.projection import DisputeState, is_ours

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.identity import Identity, IdentityStore
    from stripe_payments.ledger import Ledger, Transaction

__all__ = ["META_CLOCK_FLOOR", "META_LAST_CONTACT", "META_REBUILDING", "Reconciler", "SyncOutcome"]

_log = Log("reconcile")

META_CLOCK_FLOOR: Final = "clock_floor"
"""Ledger meta: the trusted clock's floor, epoch seconds."""
META_LAST_CONTACT: Final = "last_contact"
"""Ledger meta: when Stripe last answered, trusted epoch seconds; at most an hour behind."""

_PERSIST_EVERY: Final = 3600
_REFETCHES: Final = 3
_REMEMBERED: Final = 600.0


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What a sync came to.

    status: applied (something of ours was there), foreign (another router's), missing (Stripe has no such
    object), ignored (an object that tells us nothing). changed: the names of the features that were unlocked
    or locked, or whose details changed.
    """

    changed: tuple[str, ...] = ()
    status: str = "ignored"
    ours: bool = False


@dataclass(slots=True)
class _Overtaken:
    """Units whose fetch began before a newer answer for the same object was stored: to be fetched again."""

    ids: list[str] = field(default_factory=list)


class Reconciler:
    def __init__(
        self,
        ledger: Ledger,
        stripe: StripeAPI,
        clock: TrustedClock,
        settings: Callable[[], Settings],
        identity: IdentityStore,
        on_effects: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._settings = settings
        self._identity = identity
        self._on_effects = on_effects
        self._fetcher = Fetcher(stripe)
        self._stored_at: dict[str, float] = {}  # touched in the ledger's thread alone
        self._last_contact: int | None = None
        self._persisted_contact: int | None = None

    @property
    def identity(self) -> Identity:
        """Who this router is, as every question of ownership is decided."""
        return self._identity.load()

    @property
    def last_sync(self) -> int | None:
        """Trusted epoch seconds at which Stripe last answered a sync or a poll; None before the first one."""
        return self._last_contact

    async def load(self) -> None:
        """Take up what the ledger remembers. Call once, before anything else."""

        def remembered(tx: Transaction) -> str | None:
            return tx.meta.get(META_LAST_CONTACT)

        found = await self._ledger.read(remembered)
        if found and found.isdigit():
            self._last_contact = self._persisted_contact = int(found)

    async def sync(self, object_id: str, reason: str = "", *, event_ids: Sequence[str] = ()) -> SyncOutcome:
        """Fetch what `object_id` leads to and apply it; finishes the given inbox events in the same
        transaction.

        Raises PaymentError where Stripe cannot be asked; nothing has changed then.
        """
        if object_kind(object_id) not in FOLLOWED:
            return await self._apply([], reason, event_ids, "ignored")
        known = await self._ledger.read(lambda tx: _known_dispute(tx, object_id))
        for _ in range(_REFETCHES):
            units = await self._fetcher.fetch(object_id, known)
            self._contacted()
            overtaken = _Overtaken()
            outcome = await self._apply(units, reason, event_ids, "missing", overtaken)
            if not overtaken.ids:
                break
        return outcome

    async def apply(
        self, units: Iterable[Unit], reason: str, *, along: Callable[[Transaction], None] | None = None
    ) -> SyncOutcome:
        """Apply objects that came in a list, or as the answer to a request; those that were overtaken
        meanwhile are fetched by themselves. `along`: what is written first, in the same transaction.
        """
        self._contacted()
        overtaken = _Overtaken()
        outcome = await self._apply(list(units), reason, (), "ignored", overtaken, along)
        changed = list(outcome.changed)
        for object_id in overtaken.ids:
            changed.extend((await self.sync(object_id, reason)).changed)
        return SyncOutcome(tuple(dict.fromkeys(changed)), outcome.status, outcome.ours)

    async def recompute(self) -> tuple[str, ...]:
        """Entitlements anew from what the ledger holds: after a change of settings, at the start, as time
        passes.
        """
        book = self._book()

        def run(tx: Transaction) -> tuple[str, ...]:
            return recompute(tx, book, held=_held(tx))

        changed = await self._ledger.write(run)
        if changed:
            self._on_effects()
        return changed

    async def rebuilt(self) -> None:
        """Everything has been fetched from Stripe again: from here on features may lock."""

        def run(tx: Transaction) -> bool:
            if tx.meta.get(META_REBUILDING) is None:
                return False
            tx.meta.delete(META_REBUILDING)
            tx.meta.delete(META_HELD)
            return True

        if await self._ledger.write(run):
            _log.info("the ledger has been rebuilt from Stripe")
            await self.recompute()

    def _contacted(self) -> None:
        now = self._clock.now()
        if now is not None:
            self._last_contact = now

    def _book(self) -> Book:
        identity = self._identity.load()
        return Book(
            settings=self._settings(),
            router_id=identity.router_id,
            customer=identity.customer,
            now=self._clock.now(),
            last_contact=self._last_contact,
        )

    async def _apply(
        self,
        units: Sequence[Unit],
        reason: str,
        event_ids: Sequence[str],
        otherwise: str,
        overtaken: _Overtaken | None = None,
        along: Callable[[Transaction], None] | None = None,
    ) -> SyncOutcome:
        book = self._book()
        contact = self._last_contact

        def run(tx: Transaction) -> tuple[SyncOutcome, bool]:
            if along is not None:
                along(tx)
            total = Applied()
            stored: list[str] = []
            for unit in units:
                if self._stored_at.get(unit.id, 0.0) > unit.started:
                    if overtaken is not None:
                        overtaken.ids.append(unit.id)
                    # whose it is does not depend on which answer was stored
                    total.ours |= is_ours(unit.root, book.router_id, book.customer)
                    continue
                total.add(apply_unit(tx, unit, book))
                stored.append(unit.id)
            settle(tx, total, book)
            changed: tuple[str, ...] = ()
            if total.ours:
                changed = recompute(tx, book, held=_held(tx))
            status = "applied" if total.ours else "foreign" if units else otherwise
            if overtaken is None or not overtaken.ids:
                for event_id in event_ids:
                    tx.inbox.finish(event_id, status)
            self._persist_contact(tx, contact, force=total.changed or bool(changed))
            now = time.monotonic()
            self._stored_at.update(dict.fromkeys(stored, now))
            self._forget(now)
            return SyncOutcome(changed, status, total.ours), total.effects or bool(changed)

        outcome, effects = await self._ledger.write(run)
        if effects:
            self._on_effects()
        if outcome.changed or outcome.status == "missing":
            _log.info("synced", reason=reason, status=outcome.status, changed=",".join(outcome.changed))
        return outcome

    def _persist_contact(self, tx: Transaction, contact: int | None, *, force: bool) -> None:
        """With something else to write, or once an hour: flash wears, and these two may lag."""
        if contact is None:
            return
        persisted = self._persisted_contact
        if not force and persisted is not None and 0 <= contact - persisted < _PERSIST_EVERY:
            return
        tx.meta.set(META_LAST_CONTACT, str(contact))
        floor = self._clock.floor
        if floor is not None:
            tx.meta.set(META_CLOCK_FLOOR, str(floor))
        self._persisted_contact = contact

    def _forget(self, now: float) -> None:
        if len(self._stored_at) > 256:
            self._stored_at = {
                object_id: at for object_id, at in self._stored_at.items() if now - at < _REMEMBERED
            }


def _held(tx: Transaction) -> frozenset[str]:
    """The features that do not lock yet: those of UCI, until all has been fetched from Stripe again."""
    if tx.meta.get(META_REBUILDING) is None:
        return frozenset()
    return frozenset((tx.meta.get(META_HELD) or "").split(","))


def _known_dispute(tx: Transaction, object_id: str) -> DisputeState | None:
    purchase = tx.purchases.get(object_id)
    return purchase.dispute if purchase else None
