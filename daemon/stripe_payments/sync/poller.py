"""Polling: how a router behind NAT learns of every change, and of the end of open checkouts, without a
webhook.

A round makes two requests at most. The first lists our customer's completed sessions with their payments,
charges, refunds and subscriptions expanded: purchases that were never recorded, refunds and changed
subscriptions are all in it. The second takes turns: an openly disputed payment, the subscriptions, the
invoices, the charges (whose refunds and disputes no invoice contains), older sessions. After a start, an
outage or `poll_now` rounds follow each other in seconds until everything has been polled once. A running
subscription that no list contains any more is polled by its id, and older invoices are listed as long as
there are unpaid ones among them, in the rounds that follow.

When and what is decided in poll_plan.py and poll_round.py; this module does the IO.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Final

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.settings import Settings
from stripe_payments.shared_tasks import SharedTasks
from stripe_payments.stripe_api import StripeAPI, is_transient, object_kind
from stripe_payments.sync.fetch import Fetcher, needs_disputes, units_of
from stripe_payments.sync.poll_plan import SPACING, Fault, Plan
from stripe_payments.sync.poll_round import REQUESTS, Answer, Kind, Query, Round
from stripe_payments.sync.poll_timing import SLOWEST_OPEN
from stripe_payments.sync.raw_fields import reference
from stripe_payments.sync.reconciler import META_REBUILDING, Reconciler, SyncOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stripe_payments.clock import TrustedClock
    from stripe_payments.identity import IdentityStore
    from stripe_payments.ledger import Checkout, Ledger, Transaction
    from stripe_payments.stripe_api import Page
    from stripe_payments.stripe_api.parameters import SessionListParams

__all__ = ["REQUESTS", "Poller"]

_log = Log("poller")

PAGE: Final = 20
"""Objects per list request: a household's purchases of years, and still a small response."""

ROUNDS_AT_ONCE: Final = 8
"""Rounds that follow each other without a pause in `poll_everything`."""

FRESH_FOR: Final = 1.5
"""Seconds in which a polled object is not polled again, however many callers request it."""

LOST_EVERY: Final = 86_400
"""Seconds after which a lost dispute is polled again. An appeal takes weeks, and a lost one can still be won:
https://docs.stripe.com/api/disputes/object#dispute_object-status
"""

SESSION_LASTS: Final = 86_400
"""Seconds after which Stripe ends a session that names no other end; ours do not.
https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-expires_at
"""

ASLEEP: Final = 3600.0
"""Seconds after which the plan is evaluated again, whatever it said before."""

Withdraw = Callable[["Checkout"], Awaitable[bool]]
"""Expires an open checkout at Stripe if paying it would pay twice; returns whether it did."""


class Poller:
    """`run` polls until it is cancelled. `wakeup` is set by other parts when the plan has to be evaluated
    again: a checkout was opened, the settings changed. `on_poll` is called at each poll, whether or not
    Stripe can be reached.
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
        wakeup: asyncio.Event | None = None,
        withdraw: Withdraw | None = None,
        on_poll: Callable[[], None] = lambda: None,
        chance: Random | None = None,
    ) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._stripe = stripe
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._withdraw = withdraw
        self._on_poll = on_poll
        self._wakeup = wakeup or asyncio.Event()
        self._now_because: str | None = None
        self._soon_because: str | None = None
        self._pause_until = 0.0
        self._round = asyncio.Lock()
        self._fetcher = Fetcher(stripe)
        self._lost_polled: dict[str, int] = {}
        self._polls: SharedTasks[str, SyncOutcome] = SharedTasks(FRESH_FOR)
        self._plan = Plan(
            lambda: self._settings().poll_interval,
            chance or Random(),  # noqa: S311 - jitter
        )

    def poll_now(self, reason: str) -> None:
        """Poll everything now, whatever the plan says; only a pending Retry-After is still honoured."""
        self._now_because = reason
        self._wakeup.set()

    def poll_soon(self, reason: str) -> None:
        """Stripe may be reachable again, here and for many other routers: poll, but spread over time."""
        self._soon_because = reason
        self._wakeup.set()

    def account_changed(self) -> None:
        """As `poll_now`, for keys that may belong to another account: nothing found so far is trusted, not
        even the customer.
        """
        self._plan.account_changed()
        self.poll_now("new keys")

    async def poll_everything(self) -> None:
        """Poll everything for a caller that waits; what is left over after ROUNDS_AT_ONCE rounds follows in
        the background. Raises PaymentError where Stripe is not available.
        """
        self._on_poll()
        self._plan.poll_everything()
        for _ in range(ROUNDS_AT_ONCE):
            checkouts = await self._open_checkouts(time.monotonic())
            async with self._round:
                await self.round(checkouts, routine=True)
            if self._plan.done:
                break
        self._plan.succeeded()
        self._wakeup.set()

    async def poll_object(self, object_id: str) -> SyncOutcome:
        """Poll one object for a caller that waits; callers at the same time, within FRESH_FOR seconds of each
        other, and a round that is due share one request, which continues if its callers leave.

        Raises PaymentError where Stripe is not available, `rate_limited` while a Retry-After is pending.
        """
        wait = self._plan.retry_after(time.monotonic())
        if wait and object_id not in self._polls:
            raise PaymentError("rate_limited", retry_after=math.ceil(wait))
        return await self._polls.run(object_id, lambda: self._poll_object(object_id))

    async def run(self) -> None:
        self._plan.started(time.monotonic(), urgent=await self._is_urgent())
        while True:
            self._wakeup.clear()
            try:
                delay = await self._step()
            except PaymentError as error:
                _log.error("polling failed", error=error.code)
                delay = SLOWEST_OPEN
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wakeup.wait()
            # many wakeups, or one in the middle of a round, still leave a pause between rounds
            await asyncio.sleep(max(0.0, self._pause_until - time.monotonic()))

    async def _step(self) -> float:
        """Evaluate the plan and run the round that is due; return the seconds until the next step."""
        now = time.monotonic()
        checkouts = await self._open_checkouts(now)
        if self._now_because is not None:
            _log.debug("polling now", reason=self._now_because)
            self._now_because = None
            self._plan.poll_now(now)
        if self._soon_because is not None:
            reason, self._soon_because = self._soon_because, None
            self._plan.poll_soon(now, urgent=await self._is_urgent())
            _log.info("poll scheduled", reason=reason, in_s=max(0, round(self._plan.wake_at() - now)))
        boundary = await self._boundary(now)
        if self._plan.wake_at() <= now:
            await self._guarded({held.local_id: held for held in checkouts})
            now = time.monotonic()
            self._pause_until = now + SPACING
        return max(0.1, min(self._plan.wake_at() - now, ASLEEP if boundary is None else boundary, ASLEEP))

    async def _is_urgent(self) -> bool:
        """Whether a purchase may not be unlocked here and now."""
        customer = self._identity.load().customer is not None
        return await self._ledger.read(
            lambda tx: _is_cut_off(tx) or (_is_rebuilding(tx) if customer else _has_begun_to_buy(tx))
        )

    async def _boundary(self, now: float) -> float | None:
        """Recompute if a period or a grace period has just ended; return the seconds until the next one."""
        state = self._reconciler.state
        ended, next_in = self._plan.check_boundaries(
            now, self._clock.now(), state.running, state.entitlements.values()
        )
        if ended:
            await self._reconciler.recompute()
        return next_in

    async def _open_checkouts(self, now: float) -> list[Checkout]:
        """The open ones that have a session; hands them to the plan."""
        found = await self._ledger.read(lambda tx: tx.checkouts.open())
        checkouts = [held for held in found if held.session_id is not None]
        self._plan.set_open_checkouts(
            now, self._clock.now(), [(held.local_id, _opened_at(held)) for held in checkouts]
        )
        return checkouts

    async def _guarded(self, checkouts: Mapping[int, Checkout]) -> None:
        """Run the round that is due, if it still is once the rounds of `poll_everything` are over."""
        self._on_poll()
        try:
            async with self._round:
                customer = self._identity.load().customer is not None
                due = self._plan.due(time.monotonic(), customer=customer)
                if due is None:
                    return
                await self._carry_out(due, checkouts)
        except PaymentError as error:
            retry_after = error.details.get("retry_after")
            fault: Fault = "transient"
            if error.code == "not_configured":
                fault = "unconfigured"  # set_keys polls now
            elif error.code == "rate_limited":
                fault = "rate_limited"
            elif not is_transient(error):
                fault = "refused"
                _log.warning("polling refused", error=error.code, reason=error.details.get("reason"))
            self._plan.failed(time.monotonic(), fault, retry_after if isinstance(retry_after, int) else None)
        except Exception as error:  # noqa: BLE001 - polling must outlive any single answer
            _log.error("polling round failed", exc=error)
            self._plan.failed(time.monotonic(), "broken")
        else:
            self._plan.succeeded()
        await self._reconciler.recompute()  # time has passed, whether or not Stripe answered

    async def round(self, due: list[Checkout], *, routine: bool) -> None:
        """At most two requests."""
        checkouts = {held.local_id: held for held in due}
        customer = self._identity.load().customer is not None
        await self._carry_out(
            self._plan.round(time.monotonic(), checkouts, routine=routine, customer=customer), checkouts
        )

    # -- requests ---------------------------------------------------------------------------------

    async def _carry_out(self, due: Round, checkouts: Mapping[int, Checkout]) -> None:
        listed = False
        while (query := due.query) is not None:
            due.answered(await self._answer(query, checkouts))
            listed |= query.kind not in ("checkout", "dispute", "unlisted")
        if listed and self._plan.complete:
            await self._reconciler.rebuilt()

    async def _answer(self, query: Query, checkouts: Mapping[int, Checkout]) -> Answer:
        started = time.monotonic()
        match query.kind:
            case "find_customer":
                return await self._find_customer()
            case "unlisted":
                more = await self._poll_by_id(str(query.subject), started)
                return Answer(time.monotonic(), unlisted=more)
            case "is_customer":
                return Answer(time.monotonic(), there=await self._is_known())
            case "checkout":
                session_id = checkouts[int(query.subject or 0)].session_id or ""
                await self._polls.run(session_id, lambda: self._poll_object(session_id))
                return Answer(time.monotonic())
            case "dispute":
                await self._poll_dispute(str(query.subject))
                return Answer(time.monotonic())
            case kind:
                return await self._list(kind, started)

    async def _list(self, kind: Kind, started: float) -> Answer:
        """One page of what belongs to our customer."""
        customer = self._customer()
        try:
            return await self._lists_of(kind, customer, started)
        except PaymentError as error:
            named = error.details.get("param")
            if error.details.get("stripe_code") == "resource_missing" and named in (None, "customer"):
                await self._forget(customer)
                return Answer(time.monotonic(), there=False)
            if kind == "sessions" or is_transient(error) or error.code == "stripe_key_invalid":
                raise
            _log.warning("polling refused", error=error.code, reason=error.details.get("reason"))
            return Answer(time.monotonic(), refused=True)

    async def _poll_object(self, object_id: str) -> SyncOutcome:
        held = await self._ledger.read(lambda tx: tx.checkouts.by_session(object_id))
        if held is None or held.state != "open":
            return await self._reconciler.sync(object_id, "payment status")
        if self._withdraw is not None and await self._withdraw(held):
            outcome = SyncOutcome(status="applied", ours=True)
        else:
            outcome = await self._reconciler.sync(object_id, "open checkout")
        if outcome.status == "missing":
            # made with the keys of another account or mode: it can never be paid here
            await self._ledger.write(lambda tx: tx.checkouts.update(held.local_id, state="failed"))
        self._plan.checkout_polled(time.monotonic(), held.local_id)
        return outcome

    async def _poll_dispute(self, disputed: str) -> None:
        if object_kind(disputed) == "charge":
            units = await self._fetcher.charge(disputed)
        else:
            units = await self._fetcher.fetch(disputed, None)
        await self._reconciler.apply(units, "poll")

    async def _find_customer(self) -> Answer:
        """Our customer by its metadata, where the identity was restored without it; there is none if nothing
        was ever bought.
        """
        found = await self._stripe.find_customers(self._identity.load().router_id)
        if not found:
            await self._reconciler.apply([], "poll")
            return Answer(time.monotonic(), there=False, unlisted=self._unlisted(()))
        customer, *duplicates = [str(one["id"]) for one in found]
        await asyncio.to_thread(self._identity.set_customer, customer)
        return Answer(time.monotonic(), unlisted=duplicates)

    async def _poll_by_id(self, object_id: str, started: float) -> Sequence[str]:
        """A running subscription; the invoices before one; or a duplicate of our customer: what was bought as
        that one is this router's, and if the running plan is that one's, it is the one for the customer
        portal. Returns what is to be polled besides.
        """
        kind = object_kind(object_id)
        if kind == "invoice":
            wanted = {"customer": self._customer(), "limit": PAGE, "starting_after": object_id}
            page = await self._stripe.list("invoice", wanted)
            await self._reconciler.apply(
                [unit for root in page.data for unit in units_of(root, started)], "poll"
            )
            return self._before_unpaid(page)
        if kind != "customer":
            await self._reconciler.sync(object_id, "poll")
            return ()
        _log.warning("duplicate customer at Stripe", customer=object_id)
        await self._lists_of("sessions", object_id, time.monotonic())
        state = self._reconciler.state
        owners = {reference(state.objects[one.id].get("customer")) for one in state.running}
        if object_id in owners and self._customer() not in owners:
            await asyncio.to_thread(self._identity.set_customer, object_id)
        return ()

    async def _is_known(self) -> bool:
        """Whether the account of the keys has our customer; if not, forget it."""
        customer = self._customer()
        found = await self._stripe.retrieve(customer)
        if found is not None and not found.get("deleted"):
            return True
        await self._forget(customer)
        return False

    async def _forget(self, customer: str) -> None:
        """The keys are of another account, or our customer was deleted at Stripe."""
        _log.warning("customer does not exist at Stripe", customer=customer)
        await asyncio.to_thread(self._identity.set_customer, None)

    def _customer(self) -> str:
        """Ours, while a query is about it."""
        return self._identity.load().customer or ""

    async def _lists_of(self, kind: Kind, customer: str, started: float) -> Answer:
        if kind in ("sessions", "older_sessions"):
            wanted: SessionListParams = {"customer": customer, "status": "complete", "limit": PAGE}
            if kind == "older_sessions":
                wanted["starting_after"] = self._plan.older_than or ""
            return await self._apply_sessions(await self._stripe.list("checkout.session", wanted), started)
        if kind == "subscriptions":
            # those that have not ended, however many newer ones have; one that ends is polled by its id
            page = await self._stripe.list("subscription", {"customer": customer, "limit": PAGE})
        elif kind == "invoices":
            page = await self._stripe.list("invoice", {"customer": customer, "limit": PAGE})
        else:
            page = await self._stripe.list("charge", {"customer": customer, "limit": PAGE})
        await self._reconciler.apply([unit for root in page.data for unit in units_of(root, started)], "poll")
        unlisted: list[str] = []
        if kind == "subscriptions":
            unlisted = self._unlisted([str(root["id"]) for root in page.data])
        elif kind == "invoices":
            unlisted = self._before_unpaid(page)
        disputed: list[str] = []
        if kind == "charges":
            disputed = self._disputed_among([str(charge["id"]) for charge in page.data])
        subscribed = bool(self._reconciler.state.subscriptions)
        return Answer(time.monotonic(), disputed=disputed, unlisted=unlisted, subscribed=subscribed)

    def _unlisted(self, listed: Collection[str]) -> list[str]:
        """The subscriptions that run as far as is known, but are in no list: they have ended, their customer
        was deleted (which ends them), or they are older than a page. By its id, Stripe still has each.
        """
        return [held.id for held in self._reconciler.state.running if held.id not in listed]

    def _before_unpaid(self, page: Page) -> list[str]:
        """The last invoice of a page, if running subscriptions have older ones that were unpaid when last
        seen: each may be paid late.
        """
        last = page.data[-1] if page.has_more and page.data else None
        if last is None:
            return []
        invoices = self._reconciler.state.parsed.invoices_of
        unpaid = any(
            invoice.status in ("open", "uncollectible") and invoice.created < last["created"]
            for held in self._reconciler.state.running
            for invoice in invoices.get(held.id, ())
        )
        return [str(last["id"])] if unpaid else []

    async def _apply_sessions(self, page: Page, started: float) -> Answer:
        known = self._reconciler.state.dispute
        sessions = {str(session["id"]): session for session in page.data}
        disputed = [name for name, session in sessions.items() if needs_disputes(session, known(name))]
        disputed += self._due_lost([name for name in sessions if known(name) == "lost"])
        await self._reconciler.apply(
            [unit for session in page.data for unit in units_of(session, started)], "poll"
        )
        more = str(page.data[-1]["id"]) if page.has_more and page.data else None
        subscribed = bool(self._reconciler.state.subscriptions)
        return Answer(time.monotonic(), more=more, disputed=disputed, subscribed=subscribed)

    def _disputed_among(self, charges: list[str]) -> list[str]:
        """Those that paid an invoice and are disputed, unless it is known how that ended."""
        moneys = [money for money in self._reconciler.state.invoices.values() if money.dispute]
        open_ones = {charge for money in moneys if money.dispute == "open" for charge in money.charges}
        lost = {charge for money in moneys if money.dispute == "lost" for charge in money.charges}
        found = [charge for charge in charges if charge in open_ones]
        return found + self._due_lost([charge for charge in charges if charge in lost])

    def _due_lost(self, lost: list[str]) -> list[str]:
        """Those whose lost dispute is to be polled again: it may have been won by an appeal."""
        now = self._clock.now() or 0
        recent = {name: at for name, at in self._lost_polled.items() if now - at < LOST_EVERY}
        due = [name for name in lost if name not in recent and now >= LOST_EVERY]
        self._lost_polled = recent | dict.fromkeys(due, now)
        return due


def _has_begun_to_buy(tx: Transaction) -> bool:
    """Then there is a customer, which the identity lacks if it was lost meanwhile."""
    return bool(tx.checkouts.latest(1))


def _is_rebuilding(tx: Transaction) -> bool:
    return tx.meta.get(META_REBUILDING) is not None


def _is_cut_off(tx: Transaction) -> bool:
    """A feature is locked only because Stripe was unreachable for too long."""
    return any(held.reason == "offline" and not held.unlocked for held in tx.features.all().values())


def _opened_at(held: Checkout) -> int:
    """Epoch seconds, by Stripe's clock: ours may have been wrong then."""
    return held.created_at if held.expires_at is None else held.expires_at - SESSION_LASTS
