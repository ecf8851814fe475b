"""Polling: how a router behind NAT learns of everything, with no webhook at all.

A round makes two requests at most. The first lists our customer's completed sessions with their payments,
charges, refunds and subscriptions expanded: purchases that nobody noted, refunds and changed subscriptions
are all in it. The second takes turns: an openly disputed payment, the subscriptions, the invoices, the
charges (whose refunds and disputes no invoice tells of), older sessions. After a start, an outage or a kick,
and when a period has ended, rounds follow each other in seconds until every turn has been taken once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.errors import PaymentError
from stripe_payments.journal import Journal
from stripe_payments.settings import Settings
from stripe_payments.stripe_api import StripeAPI, is_transient, object_kind

from . import derive
from .boundaries import Boundaries
from .fetching import Fetcher, units_of
from .invoice_money import InvoiceMoney
from .schedule import FAST, SLOWEST_OPEN, Backoff, first_routine_delay, open_checkout_delay, routine_delay
from .sync import META_REBUILDING, Reconciler

if TYPE_CHECKING:
    from stripe_payments.identity import IdentityStore
    from stripe_payments.ledger import Checkout, Ledger, Transaction

    from .trusted_clock import TrustedClock

_journal = Journal("poller")

PAGE: Final = 20
"""Objects a list request asks for: a household's purchases of years, and still a small answer."""

REQUESTS: Final = 2
"""In a round, whatever there is to ask."""

LOOKS: Final = 8
"""Rounds that follow each other at once when a person asks for a look at everything."""

FOLLOW_UP: Final = 5.0
"""Seconds between rounds while turns are still to be taken after a start, an outage or a kick."""

SPACING: Final = 1.0
"""Seconds between the end of a round and the next one, whoever asks for it."""

TURNS: Final = ("subscriptions", "invoices", "charges", "older_sessions")

SPREAD: Final = 60.0
"""Seconds over which routers whose periods end at the same moment ask about it."""

Withdraw = Callable[["Checkout"], Awaitable[bool]]
"""Takes an open checkout back at Stripe if its purchase must not be made any more; gives whether it asked
Stripe.
"""


class Poller:
    """Runs until cancelled. `kick(reason)` asks for a full round now (success page, WAN up, new keys,
    `sync`).
    """

    def __init__(
        self,
        ledger: Ledger,
        reconciler: Reconciler,
        stripe: StripeAPI,
        settings: Callable[[], Settings],
        identity: IdentityStore,
        clock: TrustedClock,
        *,
        withdraw: Withdraw | None = None,
        chance: Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._stripe = stripe
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._withdraw = withdraw
        self._chance = chance or Random()  # noqa: S311 - jitter
        self._monotonic = monotonic
        self._wake = asyncio.Event()
        self._kicked: str | None = None
        self._backoff = Backoff()
        self._routine_at = 0.0
        self._noted: dict[int, float] = {}  # open checkouts: when they were opened, on the monotonic clock
        self._due: dict[int, float] = {}
        self._turns: deque[str] = deque(TURNS)
        self._catching_up: set[str] = set(TURNS)
        self._disputed: deque[str] = deque()
        self._looked_at: dict[int, float] = {}
        self._pause_until = 0.0
        self._starting = True
        self._older_than: str | None = None
        self._customer_in_doubt = False
        self._round = asyncio.Lock()
        self._fetcher = Fetcher(stripe)
        self._boundaries = Boundaries(self._chance.uniform(0.0, SPREAD))

    def kick(self, reason: str) -> None:
        """Look at everything now, whatever the schedule says; only a Retry-After of Stripe's is still
        honoured.
        """
        self._kicked = reason
        self._wake.set()

    def keys_changed(self) -> None:
        """As `kick`, for an account that may be another one: nothing of what was found so far is taken for
        granted, not even the customer.
        """
        self._customer_in_doubt = True
        self._older_than = None
        self._disputed.clear()
        self.kick("new keys")

    def notice(self) -> None:
        """A checkout was opened: look at the schedule again, without a round of its own."""
        self._wake.set()

    async def look_now(self) -> None:
        """Rounds for a person who waits for them, until every turn has been taken; what is left over after
        LOOKS of them follows by itself. Raises PaymentError where Stripe cannot be asked.
        """
        self._catching_up = set(TURNS)
        for _ in range(LOOKS):
            checkouts = await self._open_checkouts(self._monotonic())
            async with self._round:
                await self.round(checkouts, routine=True)
            if not self._catching_up and not self._disputed:
                break
        self._backoff.succeeded()
        self._wake.set()

    async def run(self) -> None:
        self._routine_at = self._monotonic() + first_routine_delay(
            self._settings().poll_interval, self._chance
        )
        lost_customer = self._identity.load().customer is None and await self._ledger.read(_has_begun_to_buy)
        if lost_customer or await self._ledger.read(_is_rebuilding):
            self._routine_at = 0.0
        while True:
            self._wake.clear()
            try:
                delay = await self._step()
            except PaymentError as error:
                _journal.error("polling failed", error=error.code)
                delay = SLOWEST_OPEN
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            # many kicks, or one in the middle of a round, still leave a pause between rounds
            await asyncio.sleep(max(0.0, self._pause_until - self._monotonic()))

    async def _step(self) -> float:
        """One look at the schedule, with a round if one is due; gives the seconds until the next look."""
        now = self._monotonic()
        checkouts = await self._open_checkouts(now)
        if self._kicked is not None:
            _journal.debug("kicked", reason=self._kicked)
            self._kicked = None
            self._routine_at = now
            self._catching_up = set(TURNS)
            self._backoff.forgive(now)
        boundary = await self._boundary(now)
        if now >= self._backoff.until:
            due = [held for held in checkouts if self._due[held.local_id] <= now]
            if due or now >= self._routine_at:
                await self._guarded(due, routine=now >= self._routine_at, waiting=bool(checkouts))
                now = self._monotonic()
                self._pause_until = now + SPACING
        wake_at = max(min([self._routine_at, *self._due.values()]), self._backoff.until)
        return max(0.1, min(wake_at - now, 3600.0 if boundary is None else boundary, 3600.0))

    async def _boundary(self, now: float) -> float | None:
        """A period, a trial or a grace may just have ended; gives the seconds until the next one does."""
        held, features = await self._ledger.read(lambda tx: (tx.subscriptions.standing(), tx.features.all()))
        due = self._boundaries.due(self._clock.now(), held, features.values())
        if due.recompute:
            await self._reconciler.recompute()
        if due.look:
            self._routine_at = now
            self._catching_up = set(TURNS)
        return due.next_in

    async def _open_checkouts(self, now: float) -> list[Checkout]:
        """The open ones that have a session, and their places in the schedule."""
        found = await self._ledger.read(lambda tx: tx.checkouts.open())
        checkouts = [held for held in found if held.session_id is not None]
        current = {held.local_id for held in checkouts}
        for gone in (self._noted.keys() | self._due.keys()) - current:
            for kept in (self._noted, self._due, self._looked_at):
                kept.pop(gone, None)
        trusted = self._clock.now()
        for held in checkouts:
            if held.local_id not in self._noted:
                age = max(0, trusted - held.created_at) if trusted is not None and held.created_at else 0
                self._noted[held.local_id] = now - age
                # just opened: nobody pays within 2 s; found at the start: it may have been paid meanwhile
                self._due[held.local_id] = now if self._starting else now + FAST
        self._starting = False
        return checkouts

    async def _guarded(self, due: list[Checkout], *, routine: bool, waiting: bool) -> None:
        ceiling = SLOWEST_OPEN if waiting else float(self._settings().poll_interval)
        try:
            async with self._round:
                await self.round(due, routine=routine)
        except PaymentError as error:
            asked = error.details.get("retry_after")
            if error.code == "not_configured":
                ceiling = float(self._settings().poll_interval)  # set_keys kicks
            elif not is_transient(error):
                ceiling = float(self._settings().poll_interval)
                _journal.warning("polling refused", error=error.code, reason=error.details.get("reason"))
            self._backoff.failed(
                self._monotonic(), ceiling, self._chance, asked if isinstance(asked, int) else None
            )
            self._catching_up = set(TURNS)  # after an outage everything is looked at again
        except Exception as error:  # noqa: BLE001 - polling must outlive any single answer
            _journal.error("a polling round broke", exc=error)
            self._backoff.failed(self._monotonic(), SLOWEST_OPEN, self._chance)
        else:
            self._backoff.succeeded()
        await self._reconciler.recompute()  # time has passed, whether or not Stripe answered

    async def round(self, due: list[Checkout], *, routine: bool) -> None:
        """At most two requests."""
        now = self._monotonic()
        budget = REQUESTS
        if routine:
            budget -= await self._routine()
            self._plan_routine()
        elif len(due) > budget and (customer := self._identity.load().customer) is not None:
            # one list answers for any number of checkouts that were completed
            await self._newest_sessions(customer)
            budget -= 1
        else:
            due = due[:budget]
        for held in due:
            self._plan(held, now)
        for held in sorted(due, key=lambda held: self._looked_at.get(held.local_id, 0.0))[:budget]:
            self._looked_at[held.local_id] = now
            await self._look(held)

    async def _routine(self) -> int:
        """What is due every poll_interval; gives the number of requests it took."""
        if self._disputed:
            # the charge says that it is disputed; how it ended takes it, or its session, and its disputes
            disputed = self._disputed.popleft()
            if object_kind(disputed) == "charge":
                await self._reconciler.apply(await self._fetcher.charge(disputed), "poll")
            else:
                await self._reconciler.sync(disputed, "poll")
            return 2
        customer = self._identity.load().customer
        if customer is not None and self._customer_in_doubt:
            if await self._is_known(customer):
                await self._newest_sessions(customer)
            else:
                await self._find_customer()
            return 2
        if customer is None:
            customer = await self._find_customer()
            if customer is None:
                return 1
            await self._newest_sessions(customer)
            return 2
        if not await self._newest_sessions(customer):
            await self._find_customer()
            return 2
        try:
            await self._take_turn(customer)
        except PaymentError as error:
            if is_transient(error) or error.code == "stripe_key_invalid":
                raise
            # a restricted key that may not list invoices, say, must not keep us from all the rest
            _journal.warning("polling refused", error=error.code, reason=error.details.get("reason"))
            self._catching_up.discard(self._turns[-1])
        return 2

    async def _look(self, held: Checkout) -> None:
        """At one open checkout."""
        if self._withdraw is not None and await self._withdraw(held):
            return
        outcome = await self._reconciler.sync(held.session_id or "", "open checkout")
        if outcome.status == "missing":
            # made with the keys of another account or mode: it will never come to anything here
            await self._ledger.write(lambda tx: tx.checkouts.update(held.local_id, state="failed"))

    def _plan(self, held: Checkout, now: float) -> None:
        self._due[held.local_id] = now + open_checkout_delay(now - self._noted.get(held.local_id, now))

    def _plan_routine(self) -> None:
        now = self._monotonic()
        if self._catching_up or self._disputed:
            self._routine_at = now + FOLLOW_UP
        else:
            self._routine_at = now + routine_delay(self._settings().poll_interval, self._chance)

    async def _find_customer(self) -> str | None:
        """Our customer by its metadata, where the identity was restored without it; None if nothing was ever
        bought.
        """
        found = await self._stripe.find_customer(self._identity.load().router_id)
        if found is None:
            self._catching_up.clear()
            await self._reconciler.apply([], "poll")
            await self._reconciler.rebuilt()
            return None
        self._catching_up = set(TURNS)
        customer = str(found["id"])
        await asyncio.to_thread(self._identity.set_customer, customer)
        return customer

    async def _is_known(self, customer: str) -> bool:
        """Whether the account of the keys has our customer; one that it has not is forgotten."""
        found = await self._stripe.retrieve(customer)
        self._customer_in_doubt = False
        if found is not None and not found.get("deleted"):
            return True
        await self._forget(customer)
        return False

    async def _forget(self, customer: str) -> None:
        """The keys are of another account, or somebody deleted our customer."""
        _journal.warning("our customer does not exist at Stripe", customer=customer)
        await asyncio.to_thread(self._identity.set_customer, None)

    async def _newest_sessions(self, customer: str) -> bool:
        """False if Stripe does not know the customer; it is forgotten then."""
        started = time.monotonic()
        try:
            page = await self._stripe.list_checkout_sessions(
                {"customer": customer, "status": "complete", "limit": PAGE}
            )
        except PaymentError as error:
            if error.details.get("stripe_code") != "resource_missing":
                raise
            await self._forget(customer)
            return False
        await self._apply_sessions(page.data, started)
        if page.has_more and self._older_than is None:
            self._older_than = str(page.data[-1]["id"])
        if not page.has_more:
            self._older_than = None
            self._catching_up.discard("older_sessions")
        return True

    async def _apply_sessions(self, sessions: list[dict[str, Any]], started: float) -> None:
        ids = [str(session["id"]) for session in sessions]
        held = await self._ledger.read(lambda tx: tx.purchases.disputes(ids))
        for session in sessions:
            if (
                derive.needs_disputes(session, held.get(session["id"]))
                and session["id"] not in self._disputed
            ):
                self._disputed.append(session["id"])
        await self._reconciler.apply(
            [unit for session in sessions for unit in units_of(session, started)], "poll"
        )

    async def _take_turn(self, customer: str) -> None:
        turn = self._next_turn()
        started = time.monotonic()
        if turn == "subscriptions":
            page = await self._stripe.list_subscriptions(
                {"customer": customer, "status": "all", "limit": PAGE}
            )
        elif turn == "invoices":
            page = await self._stripe.list_invoices({"customer": customer, "limit": PAGE})
        elif turn == "charges":
            page = await self._stripe.list_charges({"customer": customer, "limit": PAGE})
        else:
            await self._older_sessions(customer, started)
            page = None
        if page is not None:
            await self._reconciler.apply(
                [unit for root in page.data for unit in units_of(root, started)], "poll"
            )
            self._catching_up.discard(turn)
            if turn == "charges":
                await self._look_out_for_disputes([str(charge["id"]) for charge in page.data])
        if not self._catching_up:
            await self._reconciler.rebuilt()

    async def _look_out_for_disputes(self, charges: list[str]) -> None:
        """Those that paid an invoice and are disputed, unless it is known how that ended."""

        def in_doubt(tx: Transaction) -> list[str]:
            money = InvoiceMoney(tx)
            stored = [charge for one in charges if (charge := tx.objects.get(one)) is not None]
            return [
                str(charge["id"])
                for charge in stored
                if charge.get("disputed")
                and derive.dispute_state(charge, money.disputes_of(charge["id"]) or None, None) == "open"
                and money.invoice_of(charge) is not None
            ]

        self._disputed.extend(
            charge for charge in await self._ledger.read(in_doubt) if charge not in self._disputed
        )

    async def _older_sessions(self, customer: str, started: float) -> None:
        """One page further back; past the last one it begins anew."""
        page = await self._stripe.list_checkout_sessions(
            {
                "customer": customer,
                "status": "complete",
                "limit": PAGE,
                "starting_after": self._older_than or "",
            }
        )
        await self._apply_sessions(page.data, started)
        self._older_than = str(page.data[-1]["id"]) if page.has_more and page.data else None
        if self._older_than is None:
            self._catching_up.discard("older_sessions")

    def _next_turn(self) -> str:
        """The turn that waits longest; while catching up, one that has not been taken yet."""
        for _ in range(len(self._turns)):
            turn = self._turns[0]
            self._turns.rotate(-1)
            if turn == "older_sessions" and self._older_than is None:
                self._catching_up.discard(turn)
                continue
            if not self._catching_up or turn in self._catching_up:
                return turn
        return "subscriptions"


def _has_begun_to_buy(tx: Transaction) -> bool:
    """So that there is a customer, of which the identity knows nothing if it was lost meanwhile."""
    return bool(tx.checkouts.latest(1))


def _is_rebuilding(tx: Transaction) -> bool:
    return tx.meta.get(META_REBUILDING) is not None
