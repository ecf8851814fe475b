"""A subscriber: what they do with a plan, and whether all of the router agrees afterwards."""

import time
from typing import Any

from simulator.world import World
from tests.flows.conftest import Buyer
from ubus_py import StatusError

PREMIUM = frozenset({"email_support", "security_updates", "priority_support", "remote_backup_daily"})
BUSINESS = PREMIUM | {"monitoring_24_7", "phone_support", "redundant_backup"}
DAY = 86_400
GOOD_CARD = "4242424242424242"
RENEWALS_FAIL = "4000000000000341"


class Subscriber(Buyer):
    """A buyer who comes back. `sees_webhooks` False: the router sells by itself and lives by polling, so a
    poll is requested.
    """

    def __init__(self, world: World, *, sees_webhooks: bool = True) -> None:
        super().__init__(world)
        self._sees_webhooks = sees_webhooks

    async def call(self, method: str, **arguments: Any) -> Any:
        """A method of the bus object."""
        return await self.world.bus.call("stripe-payments", method, arguments)

    async def refusal(self, method: str, **arguments: Any) -> str:
        """The code with which a method is refused."""
        try:
            answer = await self.call(method, **arguments)
        except StatusError as error:
            body: Any = error.data
            return str(body["error"]["code"])
        raise AssertionError(f"{method} was not refused: {answer}")

    async def subscription(self) -> dict[str, Any]:
        """The one that runs, or ran last."""
        listed = (await self.call("subscriptions"))["subscriptions"]
        assert listed
        first: dict[str, Any] = listed[0]
        return first

    async def time_passes(self, days: float) -> None:
        """At Stripe; what follows from it reaches the router by webhook, or is looked for."""
        await self.world.control("clock/advance", {"seconds": days * DAY})
        if not self._sees_webhooks:
            await self.call("sync")

    async def gives_card(self, card: str) -> None:
        """In the portal."""
        await self.world.control(f"customers/{await self.seller.customer()}/card", {"card": card})

    async def last_invoice(self) -> dict[str, Any]:
        """The newest one of the history."""
        rows: Any = (await self.call("transactions"))["transactions"]
        invoice: dict[str, Any] = next(row for row in rows if row["kind"] == "invoice")
        return invoice

    async def invoice_becomes(self, *statuses: str) -> None:
        """Waits until the newest invoice has one of these statuses."""

        async def has_become() -> bool:
            return (await self.last_invoice())["status"] in statuses

        await self.world.wait_until(has_become)

    async def pays_open_invoice(self) -> None:
        """On the invoice's page."""
        invoice = (await self.subscription())["latest_invoice"]["id"]
        await self.world.account.request("POST", f"invoices/{invoice}/pay")
        if not self._sees_webhooks:
            await self.call("sync")

    async def charged(self) -> list[int]:
        """What went through at Stripe, oldest first."""
        charges = (await self.world.account.request("GET", "charges"))["data"]
        return [charge["amount"] for charge in charges if charge["paid"]][::-1]

    async def agreed(
        self, unlocked: frozenset[str], reason: str | None = None, *, patience_s: float = 30.0
    ) -> None:
        """Waits until exactly these features are unlocked (for that reason), and bus, UCI file, events and
        hotplug scripts say the same of every feature.
        """
        deadline = time.monotonic() + patience_s
        await self.world.wait_until(
            lambda: self._agree(unlocked, reason), patience_s=deadline - time.monotonic()
        )

    async def _agree(self, unlocked: frozenset[str], reason: str | None) -> bool:
        features = await self.observer.on_the_bus()
        if {name for name, held in features.items() if held["unlocked"]} != unlocked:
            return False
        if reason is not None and {features[name]["reason"] for name in unlocked or PREMIUM} != {reason}:
            return False
        return self.observer.disagreement(features) is None and all(
            self._delivered(name, held) for name, held in features.items()
        )

    def _delivered(self, name: str, held: dict[str, Any]) -> bool:
        """Whether listeners and scripts have the state of a feature; what never changed is locked."""
        reported = self.observer.listeners()[name]
        if (reported[-1]["unlocked"] if reported else False) is not held["unlocked"]:
            return False
        if reported and any((reported[-1][field] or None) != held[field] for field in ("source", "reason")):
            return False
        scripts = self.flips(name)
        return (scripts[-1] if scripts else "lock") == ("unlock" if held["unlocked"] else "lock")

    def flips(self, feature: str) -> list[str]:
        """The calls of the hotplug scripts for a feature: unlock, lock, unlock, …"""
        return self.observer.scripts()[feature]
