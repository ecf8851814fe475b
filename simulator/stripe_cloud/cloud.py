"""`StripeCloud`: the simulated Stripe in this process, with the control surface as Python methods."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from aiohttp import web

from simulator.listening import LOOPBACK, Listening

from . import cards, checkout, disputes, portal, refunds, timeline
from .account import Account
from .api import StripeApi
from .api_errors import Json, invalid, resource_missing
from .billing import invoicing
from .clock import Clock
from .faults import Faults
from .webhooks import WebhookSender

logger = logging.getLogger(__name__)

TICK = 0.25
"""Real seconds between two looks at what has become due."""


class StripeCloud:
    """A Stripe account at `url`, from `start` to `stop`.

    `seed` makes ids predictable (tests only: real ids cannot be guessed).  `state_file` keeps everything
    across restarts. `validate_answers` checks each answer against the SDK's resource types; what differs is
    listed in `drift`. `clock`: another one than the wall clock's.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        state_file: Path | None = None,
        validate_answers: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        self.faults = Faults()
        self.account = Account(self.clock, seed=seed)
        self.live = Account(self.clock, seed=seed, livemode=True)
        self.api = StripeApi(
            {False: self.account, True: self.live},
            self.clock,
            self.faults,
            validate_answers=validate_answers,
        )
        self.url = ""
        self._state_file = state_file
        self._dirty = False
        self._runner: web.AppRunner | None = None
        self._webhooks: WebhookSender | None = None
        self._ticker: asyncio.Task[None] | None = None
        if state_file is not None and state_file.exists():
            self._restore(state_file)
        self.account.on_event.append(self._deliver)
        self.account.on_change.append(self._mark_dirty)

    @property
    def drift(self) -> list[str]:
        """Differences between answers and the SDK's types, as sentences; stays empty."""
        return self.api.drift

    # -- life --------------------------------------------------------------------------------------

    async def start(
        self, host: str | Listening = LOOPBACK, port: int = 0, *, public_url: str | None = None
    ) -> str:
        """Serve; returns `url`, for programs on this machine.  `public_url`: what links in answers point to,
        if not the address listened on.
        """
        from .app import build_app  # the pages import this module's type

        self._webhooks = WebhookSender(self.account, self.clock, self.faults)
        await self._webhooks.start()
        self._runner = web.AppRunner(build_app(self), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        listening = Listening.only(host) if isinstance(host, str) else host
        bound = await listening.serve(self._runner, port)
        self.url = listening.local_url(bound)
        self.account.public_url = self.live.public_url = (public_url or listening.shown_url(bound)).rstrip(
            "/"
        )
        self._ticker = asyncio.create_task(self._tick())
        return self.url

    async def stop(self) -> None:
        """Idempotent.  Deliveries under way are abandoned; the state file is written."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._webhooks is not None:
            await self._webhooks.stop()
            self._webhooks = None
        self._save()

    async def __aenter__(self) -> StripeCloud:
        if self._runner is None:
            await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                timeline.run_due(self.account)
            except Exception:
                logger.exception("a task that was due failed; the others go on")
            if self._dirty:
                self._save()

    # -- the buyer, the bank, the calendar ---------------------------------------------------------

    def pay(
        self,
        session_id: str,
        *,
        card: str = "4242424242424242",
        email: str | None = None,
        name: str | None = None,
        challenge: str = "complete",
        promotion_code: str | None = None,
        currency: str | None = None,
    ) -> Json:
        """What the buyer does on the Checkout page. In live mode the test cards stand for real ones.

        Returns `{"status": paid|processing|declined|requires_action, "decline_code"?, "code"?, "message"?,
        "session"}`. `challenge`: what happens if the bank asks for 3-D Secure: "complete", "fail", or
        "leave" it open (the status is then requires_action, and calling again with `challenge` answers it).
        `currency`: the buyer's own, with Adaptive Pricing or prices that have an amount in it.
        """
        account = self.live if session_id.startswith("cs_live_") else self.account
        session = account.get("checkout.session", session_id)
        if "pending" in account.behind(session_id) and challenge != "leave":
            result = checkout.answer_challenge(account, session, passed=challenge == "complete")
        else:
            if promotion_code:
                checkout.apply_code(account, session, promotion_code)
            result = checkout.submit(account, session, card=card, email=email, name=name, currency=currency)
            if result.state == "requires_action" and challenge != "leave":
                result = checkout.answer_challenge(account, session, passed=challenge == "complete")
        answer: Json = {"status": result.state, "session": session}
        if result.decline is not None:
            answer["code"] = result.decline.code
            answer["decline_code"] = result.decline.decline_code
            answer["message"] = result.decline.en
        if result.challenge_url is not None:
            answer["challenge_url"] = result.challenge_url
        return answer

    def advance(self, seconds: float) -> int:
        """Jump ahead; everything due on the way happens in its order.  Returns the new time (epoch
        seconds).
        """
        if not 0 <= seconds <= 100 * 366 * 86_400:
            raise invalid("The clock moves forward only, at most a hundred years at a time.", param="seconds")
        timeline.advance(self.account, seconds)
        if self._webhooks is not None:
            self._webhooks.wake()
        return self.clock.now()

    def set_faults(self, **body: Any) -> Json:
        """See `faults`; no arguments switch all off."""
        return self.faults.configure(body)

    def dispute(
        self,
        object_id: str,
        outcome: str = "open",
        *,
        amount: int | None = None,
        case_type: str = "resolution",
    ) -> Json:
        """A dispute about a charge or payment intent: `outcome` open, won or lost (opened first if need be,
        about `amount` of it), inquiry, prevented (with `case_type` block or resolution), or, where it was
        lost, appeal_needs_response, appeal_under_review and then won or lost. An open one can be moved to
        under_review, an inquiry to warning_under_review or warning_closed.
        """
        moves = {"under_review", "warning_under_review", "warning_closed"}
        if outcome not in {"open", "inquiry", "won", "lost", "prevented", *moves, *disputes.APPEALED}:
            raise invalid(f"unknown outcome: {outcome}", param="outcome")
        found = self.account.find(object_id)
        if found is not None and found["object"] == "checkout.session":
            found = self.account.find(found["payment_intent"])
        if found is not None and found["object"] == "payment_intent":
            found = self.account.find(found["latest_charge"])
        if found is None or found["object"] != "charge":
            raise resource_missing("charge", object_id)
        existing = disputes.find_dispute(self.account, found)
        if outcome == "prevented":
            return disputes.prevent(self.account, found, case_type)
        if outcome in moves:
            return disputes.move(self.account, found, outcome)
        if existing is not None and (outcome in disputes.APPEALED or existing["status"] in disputes.APPEALED):
            return disputes.decide_appeal(self.account, existing, outcome)
        if outcome in {"open", "inquiry"} or existing is None or existing["status"] not in disputes.OPEN:
            inquiry = outcome == "inquiry"
            existing = disputes.open_dispute(self.account, found, amount=amount, inquiry=inquiry)
        if outcome not in {"open", "inquiry"}:
            disputes.close_dispute(self.account, existing, outcome)
        return existing

    def fail_refund(self, refund_id: str, *, charge_follows: bool = True) -> None:
        """A refund comes back from the buyer's bank."""
        refunds.fail_refund(
            self.account, self.account.get("refund", refund_id), charge_follows=charge_follows
        )

    def settle_debit(self, charge_id: str, *, paid: bool) -> Json:
        """The bank decides on a pending debit; returns the charge."""
        charge = self.account.get("charge", charge_id)
        if charge["status"] != "pending":
            raise invalid(f"Charge {charge_id} is {charge['status']}, not a pending debit.")
        self.account.behind(charge_id)["card"] = "bank_debit" if paid else "bank_debit_fails"
        timeline.TASKS["settle_payment"](self.account, charge["payment_intent"])
        return charge

    def change_card(self, customer_id: str, card: str) -> Json:
        """The customer's default payment method from now on, as changed in the portal; a way to make
        renewals fail.
        """
        chosen = cards.find_card(card)
        if chosen is None:
            raise invalid("Only test cards can be used here.", param="card")
        return portal.change_payment_method(self.account, self.account.get("customer", customer_id), chosen)

    def without_intents(self, invoice_id: str) -> None:
        """An invoice's payments become those of an invoice before March 2019: charges without an intent."""
        invoicing.without_intents(self.account, self.account.get("invoice", invoice_id))

    # -- looking inside ----------------------------------------------------------------------------

    def requests(
        self, *, method: str | None = None, path: str | None = None, limit: int | None = None
    ) -> list[Json]:
        """The API requests so far, oldest first, keys redacted."""
        return self.api.log.describe(method=method, path=path, limit=limit)

    def deliveries(self) -> list[Json]:
        """The webhook deliveries so far, oldest first."""
        return self._webhooks.describe() if self._webhooks is not None else []

    def resend(self, event_id: str) -> int:
        """Deliver an event again; returns to how many endpoints."""
        return self._webhooks.resend(event_id) if self._webhooks is not None else 0

    def state(self) -> Json:
        """Clock, faults, and every object by type, the newest first."""
        kinds = sorted({obj["object"] for obj in self.account.dump()["objects"].values()})
        return {
            "now": self.clock.now(),
            "offset": self.clock.offset,
            "faults": self.faults.describe(),
            "drift": self.drift,
            "objects": {kind: list(self.account.newest_first(kind)) for kind in kinds},
        }

    # -- inside ------------------------------------------------------------------------------------

    def _deliver(self, event: Json) -> None:
        if self._webhooks is not None:
            self._webhooks.enqueue(event)

    def _mark_dirty(self) -> None:
        self._dirty = True

    def _save(self) -> None:
        self._dirty = False
        if self._state_file is None:
            return
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._state_file.with_suffix(".new")
        draft.write_text(json.dumps({"offset": self.clock.offset, "account": self.account.dump()}))
        os.replace(draft, self._state_file)

    def _restore(self, state_file: Path) -> None:
        saved = json.loads(state_file.read_text())
        self.clock.offset = saved["offset"]
        self.account.load(saved["account"])
