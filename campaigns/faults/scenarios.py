"""What happens to a router while it is in trouble, in steps; and what has to be the case afterwards."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import aiohttp

from campaigns.faults.pasts import MONTHLY, ONETIME, PREMIUM
from campaigns.faults.router_under_test import NotRightError, RouterUnderTest
from stripe_payments.rfc3339 import format_time
from tests.flows.subscriber import DAY, GOOD_CARD, RENEWALS_FAIL

__all__ = ["SCENARIOS", "After", "Scenario"]

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class After:
    """What has to be the case once a scenario is over.

    unlocked: exactly these features, each for `reason` and until `until` (RFC 3339) where that is given;
    scripts: what hotplug scripts heard of each feature of PREMIUM since the beginning, repeats left out;
    at_stripe: how many objects of a type there are; charged: the amounts of all payments that went through,
    in cents, the oldest first; paid: of how many payments listeners heard that they are paid.
    """

    unlocked: frozenset[str]
    reason: str = ""
    until: str | None = None
    scripts: tuple[str, ...] = ()
    at_stripe: dict[str, int] = field(default_factory=dict)
    charged: tuple[int, ...] = ()
    paid: int = 0


class Scenario:
    """`past`: what the router has been through (`pasts`); `steps`: the names of the methods that are called,
    one after the other. A person in them goes on trying; what happens at Stripe happens. `webhooks`: which
    fates of theirs it can be tried with. One object for one case.
    """

    name: ClassVar[str]
    past: ClassVar[str]
    steps: ClassVar[tuple[str, ...]]
    webhooks: ClassVar[tuple[str, ...]] = ("on", "duplicate", "reorder")

    def __init__(self, router: RouterUnderTest) -> None:
        self.router = router

    async def do(self, step: int) -> None:
        """The step of that index."""
        await getattr(self, self.steps[step])()

    def after(self) -> After:
        """Asked again and again after the last step, until the router is as it says."""
        raise NotImplementedError

    def _subscription(self) -> dict[str, Any]:
        (subscription,) = self.router.at_stripe("subscription")
        return subscription

    def _period_end(self) -> str:
        return format_time(self._subscription()["items"]["data"][0]["current_period_end"])


class Purchase(Scenario):
    name = "purchase"
    past = "selling"
    steps = ("press_buy", "pay")
    webhooks = ("on", "drop", "duplicate", "reorder")  # an open checkout is looked at all the time
    price: ClassVar[str] = ONETIME
    _session_id = ""

    async def press_buy(self) -> None:
        answer = await self.router.insist("create_checkout_session", price_id=self.price)
        self._session_id = answer["session_id"]

    async def pay(self) -> None:
        await self.router.world.pay(self._session_id)

    def after(self) -> After:
        return After(
            PREMIUM,
            "paid",
            scripts=("unlock",),
            at_stripe={"customer": 1, "checkout.session": 1, "charge": 1, "payment_intent": 1},
            charged=(4999,),
            paid=1,
        )


class Subscribing(Purchase):
    name = "subscription"
    price = MONTHLY

    def after(self) -> After:
        return After(
            PREMIUM,
            "active",
            until=self._period_end(),
            scripts=("unlock",),
            at_stripe={"customer": 1, "checkout.session": 1, "subscription": 1, "charge": 1, "invoice": 1},
            charged=(499,),
            paid=1,
        )


class Renewal(Scenario):
    name = "renewal"
    past = "subscribed"
    steps: ClassVar[tuple[str, ...]] = ("a_month_passes",)

    async def a_month_passes(self) -> None:
        await self.router.stripe_time_passes(31 * DAY + 7200)

    def after(self) -> After:
        return After(
            PREMIUM,
            "active",
            until=self._period_end(),
            at_stripe={"customer": 1, "checkout.session": 1, "subscription": 1, "invoice": 2},
            charged=(499, 499),
            paid=1,
        )


class FailedRenewal(Renewal):
    """The card is declined, the plan goes on in grace; then another card is given and what is owed paid."""

    name = "failed renewal"
    steps = ("give_bad_card", "a_month_passes", "seen_in_grace", "give_good_card", "pay_what_is_owed")

    async def give_bad_card(self) -> None:
        await self._give_card(RENEWALS_FAIL)

    async def give_good_card(self) -> None:
        await self._give_card(GOOD_CARD)

    async def _give_card(self, card: str) -> None:
        (customer,) = self.router.at_stripe("customer")
        await self.router.world.control(f"customers/{customer['id']}/card", {"card": card})

    async def seen_in_grace(self) -> None:
        """At the router, so that it has been through that state."""

        def in_grace() -> bool:
            held = [one for one in self.router.observer.in_uci().values() if one["unlocked"]]
            return bool(held) and all(one["reason"] == "grace" for one in held)

        await self.router.until(in_grace)

    async def pay_what_is_owed(self) -> None:
        """On the invoice's page; without an answer the payer checks whether it is paid."""
        invoice = self._subscription()["latest_invoice"]
        for _ in range(100):
            try:
                await self.router.world.account.request("POST", f"invoices/{invoice}/pay")
            except (RuntimeError, aiohttp.ClientError, ValueError):
                await self.router.pause()
            if self.router.at_stripe("invoice")[-1]["status"] == "paid":
                return
        raise NotRightError("the invoice cannot be paid")

    def after(self) -> After:
        return After(
            PREMIUM,
            "active",
            until=self._period_end(),
            at_stripe={"customer": 1, "subscription": 1, "invoice": 2},
            charged=(499, 499),
            paid=1,
        )


class Refund(Scenario):
    """An administrator gives everything back, over the bus."""

    name = "refund"
    past = "bought"
    steps = ("give_back",)

    async def give_back(self) -> None:
        (session,) = self.router.at_stripe("checkout.session")
        # by chance, the interrupted client looks at Stripe first and finds it done, or simply retries
        looks_at_stripe = self.router.chance.random() < 0.5

        def done() -> object:
            refused_as_done = self.router.refusals[-1:] == ["not_refundable"]
            return self.router.at_stripe("refund") if looks_at_stripe or refused_as_done else []

        await self.router.insist("refund", payment_id=session["id"], until=done)

    def after(self) -> After:
        return After(
            NOTHING,
            "refunded",
            scripts=("lock",),
            at_stripe={"customer": 1, "checkout.session": 1, "charge": 1, "refund": 1},
            charged=(4999,),
        )


class SetUp(Scenario):
    """Out of the box: keys, products and prices, webhook."""

    name = "set-up"
    past = "boxed"
    steps = ("set_keys", "provision", "set_up_webhook")

    async def set_keys(self) -> None:
        await self.router.insist("set_keys", secret_key=self.router.world.account.secret_key)

    async def provision(self) -> None:
        await self.router.insist("provision")

    async def set_up_webhook(self) -> None:
        await self.router.insist("setup_webhook", url=self.router.world.front.url)

    def after(self) -> After:
        return After(NOTHING, at_stripe={"product": 3, "price": 7, "webhook_endpoint": 1, "customer": 0})


SCENARIOS: dict[str, type[Scenario]] = {
    kind.name: kind for kind in (Purchase, Subscribing, Renewal, FailedRenewal, Refund, SetUp)
}
