"""A subscriber of many months in minutes: in each it buys, is declined, subscribes, renews, changes, cancels,
gets its money back; with webhooks that arrive, get lost, come twice or late, and services that restart
meanwhile.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any, Final

from simulator.world import World
from tests.flows.conftest import ONETIME
from tests.flows.subscriber import BUSINESS, GOOD_CARD, PREMIUM, RENEWALS_FAIL, Subscriber
from ubus_py import ConnectionLost, StatusError

DECLINED_CARD: Final = "4000000000000002"
NOTHING: Final[frozenset[str]] = frozenset()
FATES: Final = ("on", "duplicate", "drop", "reorder")
DAYS_A_MONTH: Final = 64
"""Days that pass at Stripe in one of its months: two renewals."""

PATIENCE_S: Final = 120.0


class BusySubscriber(Subscriber):
    """`done` counts what it has done. Who loses webhooks asks for a look, so this one always does."""

    def __init__(self, world: World) -> None:
        super().__init__(world, sees_webhooks=False)
        self.done: Counter[str] = Counter()
        self.months = 0

    async def month(self) -> None:
        """Everything that can happen to one, and afterwards nothing is unlocked any more."""
        number = self.months
        await self.world.control("faults", {"webhooks": FATES[number % len(FATES)]})
        await self._once(disputed=number % 3 == 2)
        if number % 2:
            await self._rpcd_restarts(calmly=number % 8 != 5)
        await self._plan(fails=number % 2 == 0)
        if number % 2 == 0:
            await self._ubusd_restarts()
        await self._stripe_is_away()
        self._forget()
        self.months += 1
        self.done["simulated days"] += DAYS_A_MONTH

    async def _once(self, *, disputed: bool) -> None:
        session_id = await self.checkout(ONETIME)
        await self.world.pay(session_id, DECLINED_CARD)
        self.done["declines"] += 1
        await self.world.pay(session_id)
        self.done["purchases"] += 1
        await self._unlocked(PREMIUM)
        if disputed:
            session = await self.world.account.request("GET", f"checkout/sessions/{session_id}")
            for outcome in ("open", "lost"):
                await self.world.control(
                    "dispute", {"payment_intent": session["payment_intent"], "outcome": outcome}
                )
                await self.call("sync")
            self.done["disputes"] += 1
        else:
            await self.call("refund", payment_id=session_id, amount=1000)
            await self.call("refund", payment_id=session_id)
            self.done["refunds"] += 2
        await self._unlocked(NOTHING)

    async def _plan(self, *, fails: bool) -> None:
        await self.buy("price_premium_monthly")
        self.done["purchases"] += 1
        await self._unlocked(PREMIUM)
        name = (await self._running())["id"]
        await self.time_passes(32)
        self.done["renewals"] += 1
        if fails:
            await self.gives_card(RENEWALS_FAIL)
            await self.time_passes(31)
            self.done["failed renewals"] += 1
            await self._unlocked(PREMIUM)  # by grace
            await self.gives_card(GOOD_CARD)
            invoice = (await self._running())["latest_invoice"]["id"]
            await self.world.account.request("POST", f"invoices/{invoice}/pay")
            await self.call("sync")
        else:
            await self.time_passes(31)
            self.done["renewals"] += 1
        await self.call("preview_change", subscription=name, price_id="price_business_monthly")
        await self.call("change_plan", subscription=name, price_id="price_business_monthly")
        self.done["plan changes"] += 1
        await self._unlocked(BUSINESS)
        await self.call("cancel_subscription", subscription=name)
        await self.call("resume_subscription", subscription=name)
        await self.call("cancel_subscription", subscription=name, at_period_end=False)
        self.done["cancellations"] += 2
        await self._unlocked(NOTHING)

    async def _running(self) -> dict[str, Any]:
        """The subscription that is not over; earlier months left theirs in the list."""
        listed = (await self.call("subscriptions"))["subscriptions"]
        running: dict[str, Any] = next(one for one in listed if one["status"] != "canceled")
        return running

    async def _unlocked(self, expected: frozenset[str]) -> None:
        async def agreed() -> bool:
            with contextlib.suppress(StatusError, ConnectionLost):
                features = (await self.call("features"))["features"]
                return {name for name, held in features.items() if held["unlocked"]} == expected
            return False

        await self.world.wait_until(agreed, patience_s=PATIENCE_S)

    async def _ubusd_restarts(self) -> None:
        await self.world.broker.stop()
        await self.world.broker.start()
        await self.world.front.restart()  # as `check` says
        self.done["ubusd restarts"] += 1
        await self.world.daemon_answers(patience_s=PATIENCE_S)
        # the others have to be back too: rpcd, and the web server's connection
        await self.world.bus.wait_for("session", "uci", "stripe-payments.uci", timeout=PATIENCE_S)

    async def _rpcd_restarts(self, *, calmly: bool) -> None:
        """`calmly`: not during a call to it, which would be known to be lost only after 30 s."""
        if calmly:
            await self.world.wait_until(self._all_delivered, patience_s=PATIENCE_S)
        await self.world.router.stop()
        await self.world.router.start()
        self.done["rpcd restarts"] += 1

    async def _all_delivered(self) -> bool:
        pending: Any = (await self.call("status"))["pending"]
        return bool(pending["effects"] == 0)

    async def _stripe_is_away(self) -> None:
        await self.world.control("faults", {"status": 503})
        with contextlib.suppress(StatusError):
            await self.call("sync")
        await self.world.control("faults", {})
        self.done["outages"] += 1

    def _forget(self) -> None:
        """What only the simulator and this test keep."""
        self.events.clear()
        self.world.stripe.api.log.clear()
