"""Polling: how a router behind NAT learns of everything, with no webhook at all.

A round makes two requests at most. The first lists our customer's completed sessions with their payments,
charges, refunds and subscriptions expanded: purchases that nobody noted, refunds and changed subscriptions
are all in it. The second takes turns: an openly disputed payment, the subscriptions, the invoices, the
charges (whose refunds and disputes no invoice tells of), older sessions. After a start, an outage or a kick
rounds follow each other in seconds until everything has been asked once.

When, and what: plan.py and questions.py decide. Here it is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Final

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.settings import Settings
from stripe_payments.stripe_api import StripeAPI, is_transient, object_kind
from stripe_payments.sync import projection as derive
from stripe_payments.sync.fetch import Fetcher, units_of
from stripe_payments.sync.invoice_money import InvoiceMoney
from stripe_payments.sync.poll_plan import SPACING, Fault, Plan
from stripe_payments.sync.questions import REQUESTS, Answer, Kind, Question, Round
from stripe_payments.sync.reconciler import META_REBUILDING, Reconciler
from stripe_payments.sync.schedule import SLOWEST_OPEN

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
"""Objects a list request asks for: a household's purchases of years, and still a small answer."""

LOOKS: Final = 8
"""Rounds that follow each other at once when a person asks for a look at everything."""

SESSION_LASTS: Final = 86_400
"""Seconds after which Stripe ends a session that names no other end; ours do not.
https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-expires_at
"""

ASLEEP: Final = 3600.0
"""Seconds after which the schedule is looked at, whatever it said before."""

Withdraw = Callable[["Checkout"], Awaitable[bool]]
"""Takes an open checkout back at Stripe if its purchase must not be made any more; gives whether it asked
Stripe.
"""


class Poller:
    """Runs until cancelled. `kick(reason)` asks for a look at everything now, `nudge(reason)` for one when it
    suits a whole street of routers.
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
        self._monotonic = monotonic
        self._wake = asyncio.Event()
        self._kicked: str | None = None
        self._nudged: str | None = None
        self._pause_until = 0.0
        self._round = asyncio.Lock()
        self._fetcher = Fetcher(stripe)
        self._plan = Plan(
            lambda: self._settings().poll_interval,
            chance or Random(),  # noqa: S311 - jitter
        )

    def kick(self, reason: str) -> None:
        """Look at everything now, whatever the schedule says; only a Retry-After of Stripe's is still
        honoured.
        """
        self._kicked = reason
        self._wake.set()

    def nudge(self, reason: str) -> None:
        """The way to Stripe may be open again, here and at the neighbours'."""
        self._nudged = reason
        self._wake.set()

    def keys_changed(self) -> None:
        """As `kick`, for an account that may be another one: nothing of what was found so far is taken for
        granted, not even the customer.
        """
        self._plan.account_changed()
        self.kick("new keys")

    def notice(self) -> None:
        """A checkout was opened: look at the schedule again, without a round of its own."""
        self._wake.set()

    async def look_now(self) -> None:
        """Rounds for a person who waits for them, until every turn has been taken; what is left over after
        LOOKS of them follows by itself. Raises PaymentError where Stripe cannot be asked.
        """
        self._plan.look_at_everything()
        for _ in range(LOOKS):
            checkouts = await self._open_checkouts(self._monotonic())
            async with self._round:
                await self.round(checkouts, routine=True)
            if self._plan.settled:
                break
        self._plan.succeeded()
        self._wake.set()

    async def run(self) -> None:
        self._plan.started(self._monotonic(), urgent=await self._is_urgent())
        while True:
            self._wake.clear()
            try:
                delay = await self._step()
            except PaymentError as error:
                _log.error("polling failed", error=error.code)
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
            _log.debug("kicked", reason=self._kicked)
            self._kicked = None
            self._plan.kicked(now)
        if self._nudged is not None:
            reason, self._nudged = self._nudged, None
            self._plan.nudged(now, urgent=await self._is_urgent())
            look_in = max(0, round(self._plan.wake_at() - now))
            _log.info("the way to Stripe may be open again", reason=reason, look_in=look_in)
        boundary = await self._boundary(now)
        if self._plan.wake_at() <= now:
            await self._guarded({held.local_id: held for held in checkouts})
            now = self._monotonic()
            self._pause_until = now + SPACING
        return max(0.1, min(self._plan.wake_at() - now, ASLEEP if boundary is None else boundary, ASLEEP))

    async def _is_urgent(self) -> bool:
        """Whether somebody may be missing what they paid for, here and now."""
        customer = self._identity.load().customer is not None
        return await self._ledger.read(
            lambda tx: _is_cut_off(tx) or (_is_rebuilding(tx) if customer else _has_begun_to_buy(tx))
        )

    async def _boundary(self, now: float) -> float | None:
        """A period, a trial or a grace may just have ended; gives the seconds until the next one does."""
        held, features = await self._ledger.read(lambda tx: (tx.subscriptions.standing(), tx.features.all()))
        ended, next_in = self._plan.time_passed(now, self._clock.now(), held, features.values())
        if ended:
            await self._reconciler.recompute()
        return next_in

    async def _open_checkouts(self, now: float) -> list[Checkout]:
        """The open ones that have a session; the plan knows of them then."""
        found = await self._ledger.read(lambda tx: tx.checkouts.open())
        checkouts = [held for held in found if held.session_id is not None]
        self._plan.checkouts_are(
            now, self._clock.now(), [(held.local_id, _opened_at(held)) for held in checkouts]
        )
        return checkouts

    async def _guarded(self, checkouts: Mapping[int, Checkout]) -> None:
        """The round that is due, if it still is when those that a person waits for are over."""
        try:
            async with self._round:
                customer = self._identity.load().customer is not None
                due = self._plan.due(self._monotonic(), customer=customer)
                if due is None:
                    return
                await self._carry_out(due, checkouts)
        except PaymentError as error:
            asked = error.details.get("retry_after")
            fault: Fault = "transient"
            if error.code == "not_configured":
                fault = "unconfigured"  # set_keys kicks
            elif error.code == "rate_limited":
                fault = "rate_limited"
            elif not is_transient(error):
                fault = "refused"
                _log.warning("polling refused", error=error.code, reason=error.details.get("reason"))
            self._plan.failed(self._monotonic(), fault, asked if isinstance(asked, int) else None)
        except Exception as error:  # noqa: BLE001 - polling must outlive any single answer
            _log.error("a polling round broke", exc=error)
            self._plan.failed(self._monotonic(), "broken")
        else:
            self._plan.succeeded()
        await self._reconciler.recompute()  # time has passed, whether or not Stripe answered

    async def round(self, due: list[Checkout], *, routine: bool) -> None:
        """At most two requests."""
        checkouts = {held.local_id: held for held in due}
        customer = self._identity.load().customer is not None
        await self._carry_out(
            self._plan.round(self._monotonic(), checkouts, routine=routine, customer=customer), checkouts
        )

    # -- asking -----------------------------------------------------------------------------------

    async def _carry_out(self, due: Round, checkouts: Mapping[int, Checkout]) -> None:
        asked = False
        while (question := due.question) is not None:
            due.answered(await self._answer(question, checkouts))
            asked |= question.kind not in ("checkout", "dispute")
        if asked and self._plan.complete:
            await self._reconciler.rebuilt()

    async def _answer(self, question: Question, checkouts: Mapping[int, Checkout]) -> Answer:
        started = time.monotonic()
        match question.kind:
            case "find_customer":
                return Answer(self._monotonic(), there=await self._find_customer())
            case "is_customer":
                return Answer(self._monotonic(), there=await self._is_known())
            case "checkout":
                await self._look(checkouts[int(question.subject or 0)])
                return Answer(self._monotonic())
            case "dispute":
                await self._settle_dispute(str(question.subject))
                return Answer(self._monotonic())
            case kind:
                return await self._list(kind, started)

    async def _list(self, kind: Kind, started: float) -> Answer:
        """What belongs to our customer, one page."""
        customer = self._customer()
        try:
            return await self._lists_of(kind, customer, started)
        except PaymentError as error:
            named = error.details.get("param")
            if error.details.get("stripe_code") == "resource_missing" and named in (None, "customer"):
                await self._forget(customer)
                return Answer(self._monotonic(), there=False)
            if kind == "sessions" or is_transient(error) or error.code == "stripe_key_invalid":
                raise
            _log.warning("polling refused", error=error.code, reason=error.details.get("reason"))
            return Answer(self._monotonic(), refused=True)

    async def _look(self, held: Checkout) -> None:
        """At one open checkout."""
        if self._withdraw is not None and await self._withdraw(held):
            return
        outcome = await self._reconciler.sync(held.session_id or "", "open checkout")
        if outcome.status == "missing":
            # made with the keys of another account or mode: it will never come to anything here
            await self._ledger.write(lambda tx: tx.checkouts.update(held.local_id, state="failed"))

    async def _settle_dispute(self, disputed: str) -> None:
        if object_kind(disputed) == "charge":
            await self._reconciler.apply(await self._fetcher.charge(disputed), "poll")
        else:
            await self._reconciler.sync(disputed, "poll")

    async def _find_customer(self) -> bool:
        """Our customer by its metadata, where the identity was restored without it; False if nothing was ever
        bought.
        """
        found = await self._stripe.find_customer(self._identity.load().router_id)
        if found is None:
            await self._reconciler.apply([], "poll")
            return False
        await asyncio.to_thread(self._identity.set_customer, str(found["id"]))
        return True

    async def _is_known(self) -> bool:
        """Whether the account of the keys has our customer; one that it has not is forgotten."""
        customer = self._customer()
        found = await self._stripe.retrieve(customer)
        if found is not None and not found.get("deleted"):
            return True
        await self._forget(customer)
        return False

    async def _forget(self, customer: str) -> None:
        """The keys are of another account, or somebody deleted our customer."""
        _log.warning("our customer does not exist at Stripe", customer=customer)
        await asyncio.to_thread(self._identity.set_customer, None)

    def _customer(self) -> str:
        """Ours, while a question is about it."""
        return self._identity.load().customer or ""

    async def _lists_of(self, kind: Kind, customer: str, started: float) -> Answer:
        if kind in ("sessions", "older_sessions"):
            wanted: SessionListParams = {"customer": customer, "status": "complete", "limit": PAGE}
            if kind == "older_sessions":
                wanted["starting_after"] = self._plan.older_than or ""
            return await self._apply_sessions(await self._stripe.list("checkout.session", wanted), started)
        if kind == "subscriptions":
            page = await self._stripe.list(
                "subscription", {"customer": customer, "status": "all", "limit": PAGE}
            )
        elif kind == "invoices":
            page = await self._stripe.list("invoice", {"customer": customer, "limit": PAGE})
        else:
            page = await self._stripe.list("charge", {"customer": customer, "limit": PAGE})
        await self._reconciler.apply([unit for root in page.data for unit in units_of(root, started)], "poll")
        disputed: list[str] = []
        if kind == "charges":
            disputed = await self._disputed_among([str(charge["id"]) for charge in page.data])
        subscribed = await self._ledger.read(lambda tx: tx.subscriptions.any())
        return Answer(self._monotonic(), disputed=disputed, subscribed=subscribed)

    async def _apply_sessions(self, page: Page, started: float) -> Answer:
        ids = [str(session["id"]) for session in page.data]
        held = await self._ledger.read(lambda tx: tx.purchases.disputes(ids))
        disputed = [
            str(session["id"])
            for session in page.data
            if derive.needs_disputes(session, held.get(session["id"]))
        ]
        await self._reconciler.apply(
            [unit for session in page.data for unit in units_of(session, started)], "poll"
        )
        more = str(page.data[-1]["id"]) if page.has_more and page.data else None
        subscribed = await self._ledger.read(lambda tx: tx.subscriptions.any())
        return Answer(self._monotonic(), more=more, disputed=disputed, subscribed=subscribed)

    async def _disputed_among(self, charges: list[str]) -> list[str]:
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

        return await self._ledger.read(in_doubt)


def _has_begun_to_buy(tx: Transaction) -> bool:
    """So that there is a customer, of which the identity knows nothing if it was lost meanwhile."""
    return bool(tx.checkouts.latest(1))


def _is_rebuilding(tx: Transaction) -> bool:
    return tx.meta.get(META_REBUILDING) is not None


def _is_cut_off(tx: Transaction) -> bool:
    """Something is locked for nothing but that Stripe was not heard for too long."""
    return any(held.reason == "offline" and not held.unlocked for held in tx.features.all().values())


def _opened_at(held: Checkout) -> int:
    """Epoch seconds, by Stripe's clock: ours may have been wrong then."""
    return held.created_at if held.expires_at is None else held.expires_at - SESSION_LASTS
