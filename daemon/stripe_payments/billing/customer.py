"""This router's one customer at Stripe: known from the identity, else found by metadata, else created."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stripe_payments.log import Log
from stripe_payments.stripe_api import StripeAPI

if TYPE_CHECKING:
    from stripe_payments.identity import IdentityStore
    from stripe_payments.stripe_api.parameters import CustomerCreateParams

_log = Log("customer")


class CustomerService:
    """`ensure()` gives the id, asking Stripe only while it is not known. Concurrent callers share one
    search.
    """

    def __init__(self, stripe: StripeAPI, identity: IdentityStore) -> None:
        self._stripe = stripe
        self._identity = identity
        self._lock = asyncio.Lock()
        self._gone = ""

    async def ensure(self) -> str:
        known = self._identity.load().customer
        if known is not None:
            return known
        async with self._lock:
            identity = self._identity.load()
            if identity.customer is not None:
                return identity.customer
            # the search is a minute behind: a customer created just before a power cut comes back by its key
            customer = await self._stripe.find_customer(identity.router_id)
            if customer is None:
                params: CustomerCreateParams = {
                    "description": f"Router OS {identity.router_id[:8]}",
                    "metadata": {"router_id": identity.router_id},
                }
                key = f"customer-{identity.router_id}{self._gone}"
                customer = await self._stripe.create("customer", params, key)
            customer_id = str(customer["id"])
            await asyncio.to_thread(self._identity.set_customer, customer_id)
            _log.info("customer", id=customer_id)
            return customer_id

    async def forget(self, customer: str) -> None:
        """The keys belong to another account or mode now, or somebody deleted the customer at Stripe."""
        async with self._lock:
            if self._identity.load().customer == customer:
                _log.warning("the customer does not exist at Stripe any more", id=customer)
                await asyncio.to_thread(self._identity.set_customer, None)
                self._gone = f"-after-{customer}"  # the first key would bring the deleted one back for a day
