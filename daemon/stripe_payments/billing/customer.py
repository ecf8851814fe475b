"""This router's one customer at Stripe: from the identity file, else found by metadata, else created."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.settings import SellerContact
from stripe_payments.stripe_api import StripeAPI, is_replayed

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_payments.identity import IdentityStore
    from stripe_payments.stripe_api.parameters import CustomerCreateParams

_log = Log("customer")


class CustomerService:
    """`ensure` returns the customer's id and calls Stripe only while it is unknown. Concurrent callers share
    one search.
    """

    def __init__(
        self,
        stripe: StripeAPI,
        identity: IdentityStore,
        seller: Callable[[], SellerContact] = SellerContact,
    ) -> None:
        self._seller = seller
        self._stripe = stripe
        self._identity = identity
        self._lock = asyncio.Lock()
        self._deleted = ""

    async def ensure(self) -> str:
        known = self._identity.load().customer
        if known is not None:
            return known
        async with self._lock:
            identity = self._identity.load()
            if identity.customer is not None:
                return identity.customer
            # Search lags by about a minute: a customer created just before a power cut is returned by its key
            customer = await self._stripe.find_customer(identity.router_id)
            if customer is None:
                customer = await self._create(identity.router_id)
            customer_id = str(customer["id"])
            await asyncio.to_thread(self._identity.set_customer, customer_id)
            _log.info("customer of this router", id=customer_id)
            return customer_id

    async def _create(self, router_id: str) -> dict[str, Any]:
        params: CustomerCreateParams = {
            "description": f"{self._seller().name or 'OpenWrt router'} {router_id[:8]}",
            "metadata": {"router_id": router_id},
        }
        key = f"customer-{router_id}{self._deleted}"
        try:
            return await self._stripe.create("customer", params, key)
        except PaymentError as error:
            if not is_replayed(error):
                raise
        # for a day this key would fail; the request that failed may have created the customer all the same
        created = await self._stripe.find_new_customer(router_id)
        return created or await self._stripe.create("customer", params, f"{key}-{uuid.uuid4().hex}")

    async def forget(self, customer: str) -> None:
        """Stripe has no such customer: it was deleted, or the keys belong to another account or mode."""
        async with self._lock:
            if self._identity.load().customer == customer:
                _log.warning("customer does not exist at Stripe", id=customer)
                await asyncio.to_thread(self._identity.set_customer, None)
                # for a day, the key of its creation would return the deleted customer
                self._deleted = f"-after-{customer}"
