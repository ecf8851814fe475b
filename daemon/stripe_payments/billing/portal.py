"""Sessions of Stripe's customer portal: invoices, payment methods, cancellation.

Plans are changed here and not there: the portal knows neither the catalog nor that one plan is enough. So
sessions use a configuration of ours, one for all routers of the account.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from stripe_payments.billing.customer import CustomerService
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.return_urls import ReturnUrls
from stripe_payments.settings import SellerContact
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
_LONGEST_HEADLINE: Final = 60
"""https://docs.stripe.com/api/customer_portal/configurations/create"""

CONFIGURATION: Final[ConfigurationCreateParams] = {
    "name": "OpenWrt router payments",
    "features": {
        "customer_update": {"enabled": True, "allowed_updates": ["email", "name", "address", "tax_id"]},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
        "subscription_update": {"enabled": False},
    },
    "metadata": {MARK: VERSION},
}


def configuration_for(seller: SellerContact) -> ConfigurationCreateParams:
    """`CONFIGURATION` with the seller's name and pages; each seller's has a mark of its own."""
    profile: dict[str, str] = {}
    if seller.name:
        profile["headline"] = seller.name[:_LONGEST_HEADLINE]
    if seller.terms_url:
        profile["terms_of_service_url"] = seller.terms_url
    if seller.privacy_url:
        profile["privacy_policy_url"] = seller.privacy_url
    if not profile:
        return CONFIGURATION
    digest = hashlib.sha256(json.dumps(profile, sort_keys=True).encode()).hexdigest()[:12]
    return cast(
        "ConfigurationCreateParams",
        {**CONFIGURATION, "business_profile": profile, "metadata": {MARK: f"{VERSION}-{digest}"}},
    )


class PortalService:
    def __init__(
        self,
        ledger: Ledger,
        stripe: StripeAPI,
        identity: IdentityStore,
        customers: CustomerService,
        return_urls: ReturnUrls,
        seller: Callable[[], SellerContact] = SellerContact,
    ) -> None:
        self._seller = seller
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
            known_as = _known_as(configuration_for(self._seller()))
            await self._ledger.write(lambda tx: tx.meta.delete(known_as))
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
        wanted = configuration_for(self._seller())
        mark, known_as = _mark(wanted), _known_as(wanted)
        known = await self._ledger.read(lambda tx: tx.meta.get(known_as))
        if known:
            return known
        try:
            page = await self._stripe.list("billing_portal.configuration", {"active": True, "limit": 100})
            for found in page.data:
                if (found.get("metadata") or {}).get(MARK) == mark:
                    return await self._record(known_as, str(found["id"]))
            made = await self._stripe.create(
                "billing_portal.configuration", wanted, f"portal-configuration-{uuid.uuid4().hex}"
            )
        except PaymentError as error:
            if error.code != "stripe_key_permission":
                raise
            _log.warning(
                "portal uses the account's default configuration", reason=error.details.get("permission")
            )
            return None
        return await self._record(known_as, str(made["id"]))

    async def _record(self, known_as: str, configuration: str) -> str:
        await self._ledger.write(lambda tx: tx.meta.set(known_as, configuration))
        return configuration


def _mark(wanted: ConfigurationCreateParams) -> str:
    return str(cast("dict[str, str]", wanted["metadata"])[MARK])


def _known_as(wanted: ConfigurationCreateParams) -> str:
    mark = _mark(wanted)
    return META_CONFIGURATION if mark == VERSION else f"{META_CONFIGURATION}-{mark}"
