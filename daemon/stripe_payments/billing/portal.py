"""Sessions of Stripe's customer portal: invoices, payment methods, cancellation.

Plans are changed here and not there: the portal knows neither the catalog nor that one plan is enough. So
sessions use a configuration of ours, one for all routers of the account.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.billing.customer import CustomerService
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.return_urls import ReturnUrls
from stripe_payments.stripe_api import StripeAPI

if TYPE_CHECKING:
    from stripe_payments.identity import IdentityStore
    from stripe_payments.ledger import Ledger
    from stripe_payments.stripe_api.parameters import ConfigurationCreateParams, PortalSessionCreateParams

_log = Log("portal")

MARK: Final = "router_os_portal"
VERSION: Final = "1"
"""In the configuration's metadata. With another number, routers create a new configuration."""
META_CONFIGURATION: Final = "portal_configuration"

CONFIGURATION: Final[ConfigurationCreateParams] = {
    "name": "Router OS",
    "features": {
        "customer_update": {"enabled": True, "allowed_updates": ["email", "name", "address", "tax_id"]},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
        "subscription_update": {"enabled": False},
    },
    "metadata": {MARK: VERSION},
}


class PortalService:
    def __init__(
        self,
        ledger: Ledger,
        stripe: StripeAPI,
        identity: IdentityStore,
        customers: CustomerService,
        return_urls: ReturnUrls,
    ) -> None:
        self._ledger = ledger
        self._stripe = stripe
        self._identity = identity
        self._customers = customers
        self._return_urls = return_urls
        self._lock = asyncio.Lock()

    async def open(self, return_url: str | None = None, locale: str | None = None) -> dict[str, str]:
        """Return `{url}` of a portal session, valid for a few minutes; `return_url` as for
        `ReturnUrls.for_portal`.

        Raises nothing_bought for a router that is not a customer yet, invalid_argument, and Stripe's errors.
        """
        if self._stripe.state.status == "unconfigured":
            raise PaymentError("not_configured")
        back = await self._return_urls.for_portal(return_url)
        customer = self._identity.load().customer
        if customer is None:
            raise PaymentError("nothing_bought")
        async with self._lock:
            configuration = await self._configuration()
        try:
            session = await self._session(customer, back, locale, configuration)
        except PaymentError as error:
            if error.details.get("stripe_code") != "resource_missing":
                raise
            if error.details.get("param") == "customer":
                await self._customers.forget(customer)
                raise PaymentError("nothing_bought") from error
            # the configuration was deleted, or the keys belong to another account now
            await self._ledger.write(lambda tx: tx.meta.delete(META_CONFIGURATION))
            async with self._lock:
                configuration = await self._configuration()
            session = await self._session(customer, back, locale, configuration)
        return {"url": str(session["url"])}

    async def _session(
        self, customer: str, back: str, locale: str | None, configuration: str | None
    ) -> dict[str, Any]:
        params: PortalSessionCreateParams = {"customer": customer, "return_url": back}
        if locale in ("en", "it"):
            params["locale"] = locale
        if configuration is not None:
            params["configuration"] = configuration
        # a URL is valid for one visit, so every request needs a new session
        return await self._stripe.create("billing_portal.session", params, f"portal-{uuid.uuid4().hex}")

    async def _configuration(self) -> str | None:
        """The id of our configuration; None if the key may not create one: then the account's default
        applies.
        """
        known = await self._ledger.read(lambda tx: tx.meta.get(META_CONFIGURATION))
        if known:
            return known
        try:
            page = await self._stripe.list("billing_portal.configuration", {"active": True, "limit": 100})
            for found in page.data:
                if (found.get("metadata") or {}).get(MARK) == VERSION:
                    return await self._record(str(found["id"]))
            made = await self._stripe.create(
                "billing_portal.configuration", CONFIGURATION, f"portal-configuration-{uuid.uuid4().hex}"
            )
        except PaymentError as error:
            if error.code != "stripe_key_permission":
                raise
            _log.warning(
                "portal uses the account's default configuration", reason=error.details.get("permission")
            )
            return None
        return await self._record(str(made["id"]))

    async def _record(self, configuration: str) -> str:
        await self._ledger.write(lambda tx: tx.meta.set(META_CONFIGURATION, configuration))
        return configuration
