"""The parts of a daemon in hub mode, built once for each start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stripe_payments.hub_client.credential import CredentialStore
from stripe_payments.hub_client.purchases import HubPayments, Purchases
from stripe_payments.hub_client.seller import Seller
from stripe_payments.hub_client.seller_methods import SellerMethods
from stripe_payments.hub_client.transport import Transport
from stripe_payments.ledger import Retention
from stripe_payments.return_urls import ReturnUrls

if TYPE_CHECKING:
    from pathlib import Path

    from stripe_payments.clock import TrustedClock
    from stripe_payments.entitlements import Entitlement
    from stripe_payments.ledger import SQLiteLedger
    from stripe_payments.settings import Settings
    from ubus_py import Client, Encodable

__all__ = ["HubParts", "connect_to_hub"]


@dataclass(frozen=True, slots=True)
class HubParts:
    """What the two APIs call in hub mode; `startup_gate.Parts` is its counterpart. `methods`: the bus methods
    by name.
    """

    settings: Callable[[], Settings]
    ledger: SQLiteLedger
    clock: TrustedClock
    url: str
    transport: Transport
    retention: Retention
    seller: Seller
    checkout: Purchases
    payment_status: Purchases
    methods: Mapping[str, Callable[..., Awaitable[Mapping[str, Encodable]]]]

    @property
    def entitlements(self) -> Mapping[str, Entitlement]:
        """Every feature as it is now."""
        return self.seller.entitlements

    def close(self) -> None:
        """End the requests that run."""
        self.transport.close()

    @property
    def reachability(self) -> str:
        """``ok``, ``unreachable``, ``unauthorized``, ``unconfigured`` or ``unknown``, as `status` has it."""
        return self.seller.reachability


async def connect_to_hub(
    ledger: SQLiteLedger,
    clock: TrustedClock,
    folder: Path,
    settings: Callable[[], Settings],
    bus: Client,
    on_effects: Callable[[Mapping[str, Entitlement]], None],
    stripe_address: str | None,
) -> HubParts:
    """The parts, with what the ledger knows loaded. Raises PaymentError where the storage fails.

    `folder`: the state directory; `on_effects` is called with every feature after a commit that queued
    something; `stripe_address`: of a simulated Stripe.
    """
    url = settings().hub or ""
    transport = Transport(url, clock)
    seller = Seller(ledger, transport, CredentialStore(folder), clock, settings, bus, on_effects)
    await seller.load()
    hub = HubPayments(ledger, seller, clock)
    return_urls = ReturnUrls(bus, settings)
    purchases = Purchases(ledger, seller, hub, return_urls, clock, seller.settings, stripe_address)
    return HubParts(
        settings=seller.settings,
        ledger=ledger,
        clock=clock,
        url=url,
        transport=transport,
        retention=Retention(ledger, clock.now, _archive_nothing),
        seller=seller,
        checkout=purchases,
        payment_status=purchases,
        methods=SellerMethods(ledger, seller, hub, purchases, clock).table(),
    )


async def _archive_nothing(_unchanged_since: int) -> int:
    """In hub mode the ledger has no objects of Stripe's."""
    return 0
