"""The gate between the APIs, which are on the bus within 0.3 s, and the parts behind them, which need rpcd,
flash and imports.

A call that arrives before the parts exist waits for them, bounded; then it fails with `starting`, or with the
reason why the daemon cannot work at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from stripe_payments.errors import PaymentError

if TYPE_CHECKING:
    from stripe_payments.billing import (
        CheckoutService,
        GrantService,
        History,
        PaymentStatusService,
        PortalService,
        RefundService,
        SubscriptionService,
    )
    from stripe_payments.clock import TrustedClock
    from stripe_payments.entitlements import Entitlement
    from stripe_payments.hub_client import HubParts
    from stripe_payments.identity import IdentityStore
    from stripe_payments.keys import KeyStore
    from stripe_payments.ledger import SQLiteLedger
    from stripe_payments.settings import Settings
    from stripe_payments.setup import Provisioner, WebhookSetup
    from stripe_payments.stripe_api import StripeAPI
    from stripe_payments.sync import InboxWorker, Poller, Reconciler

PATIENCE_S: Final = 10.0
"""How long a call waits for the parts; below the 30 s limit of uhttpd and `ubus call`."""

CALL_TIMEOUT_S: Final = 25.0
"""How long a call may wait for Stripe: rpcd and `ubus call` give up after 30 s, the gateway after 28 s."""

SILENT_S: Final = 10.0
"""A call that has waited so long for one response of Stripe's failed because of Stripe."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the two APIs call once the daemon runs in direct mode; `HubParts` are those of hub mode."""

    settings: Callable[[], Settings]
    keys: KeyStore
    identity: IdentityStore
    ledger: SQLiteLedger
    stripe: StripeAPI
    clock: TrustedClock
    reconciler: Reconciler
    inbox: InboxWorker
    poller: Poller
    checkout: CheckoutService
    payment_status: PaymentStatusService
    history: History
    refunds: RefundService
    subscriptions: SubscriptionService
    portal: PortalService
    grants: GrantService
    provisioner: Provisioner
    webhook_setup: WebhookSetup

    @property
    def entitlements(self) -> Mapping[str, Entitlement]:
        """Every feature as it is now."""
        return self.reconciler.state.entitlements

    @property
    def reachability(self) -> str:
        """Whether Stripe can be reached, as `status` has it."""
        return self.stripe.state.status


Served: TypeAlias = "Parts | HubParts"
"""The parts of either mode."""


class StartupGate:
    """`served` waits until `open` was called; after `refuse` it raises that error at once, until `open` is
    called.
    """

    def __init__(self) -> None:
        self._parts: Served | None = None
        self._refusal: PaymentError | None = None
        self._changed = asyncio.Event()

    def open(self, parts: Served) -> None:
        self._parts, self._refusal = parts, None
        self._changed.set()

    def refuse(self, error: PaymentError) -> None:
        """The daemon cannot work for now: callers get `error` instead of waiting."""
        self._refusal = error
        self._changed.set()

    def reset(self) -> None:
        """The parts are being rebuilt; callers wait for them meanwhile."""
        self._parts, self._refusal = None, None
        self._changed.clear()

    def close(self) -> None:
        """The daemon stops: callers get `starting` and find the next daemon."""
        self._parts, self._refusal = None, PaymentError("starting")
        self._changed.set()

    @property
    def now(self) -> Served | None:
        """The parts if they exist already."""
        return self._parts

    @property
    def refusal(self) -> PaymentError | None:
        """Why the daemon cannot work at the moment."""
        return self._refusal

    def overdue(self) -> PaymentError:
        """The error of a call that has reached its limit: `stripe_unreachable` if Stripe is silent or did not
        answer the last request, which is being retried.
        """
        if isinstance(self._parts, Parts):
            stripe = self._parts.stripe
            if stripe.silent_s() >= SILENT_S or stripe.state.status == "unreachable":
                return PaymentError("stripe_unreachable", reason="timeout")
        return PaymentError("timeout")

    @property
    def locale(self) -> str:
        """The language of the settings; English until they are loaded."""
        return "it" if self._parts is not None and self._parts.settings().locale == "it" else "en"

    @property
    def managed(self) -> bool:
        """Whether the settings take the seller's methods off the bus; False until they are loaded."""
        return self._parts is not None and self._parts.settings().managed

    async def parts(self) -> Parts:
        """The parts of direct mode. Raises as `served`, and `not_found` in hub mode."""
        served = await self.served()
        if not isinstance(served, Parts):
            raise PaymentError("not_found")
        return served

    async def served(self) -> Served:
        """The parts of either mode. Raises PaymentError: the reason of `refuse`, or `starting` after the
        patience has run out.
        """
        if self._parts is None and self._refusal is None:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._changed.wait()
            except TimeoutError:
                raise PaymentError("starting") from None
        if self._parts is not None:
            return self._parts
        if self._refusal is not None:
            raise PaymentError(self._refusal.code, **self._refusal.details)
        raise PaymentError("starting")
