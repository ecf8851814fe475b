"""The verbs the daemon needs of Stripe, as coroutines.

How a call is made is `wire`'s business: off the event loop, bounded in time, with an idempotency key if it
is a POST. Parameters are typed by the SDK's own `stripe.params`; every verb says what its answer has to be
(`answers`, `shapes`), and nothing else gets out of here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from stripe_payments.errors import PaymentError
from stripe_payments.stripe_api.faults import is_transient
from stripe_payments.stripe_api.resources import PATHS, expand, object_kind
from stripe_payments.stripe_api.wire import (
    ANYTHING,
    CONNECT_TIMEOUT,
    NETWORK_RETRIES,
    READ_TIMEOUT,
    Expected,
    StripeState,
    Wire,
    api_base_problem,
)

if TYPE_CHECKING:
    from stripe.params import (
        ChargeListParams,
        CustomerCreateParams,
        CustomerSearchParams,
        DisputeListParams,
        InvoiceCreatePreviewParams,
        InvoiceListParams,
        InvoicePaymentListParams,
        PriceCreateParams,
        PriceListParams,
        ProductCreateParams,
        ProductListParams,
        RefundCreateParams,
        SubscriptionCancelParams,
        SubscriptionListParams,
        SubscriptionResumeParams,
        SubscriptionUpdateParams,
        WebhookEndpointCreateParams,
        WebhookEndpointUpdateParams,
    )
    from stripe.params.billing_portal import ConfigurationCreateParams
    from stripe.params.billing_portal import SessionCreateParams as PortalSessionCreateParams
    from stripe.params.checkout import SessionCreateParams, SessionListParams

    from stripe_payments.clock import TrustedClock
    from stripe_payments.keys import Keys

__all__ = ["Page", "StripeAPI", "StripeState", "api_base_problem", "is_transient", "object_kind"]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first."""

    data: list[dict[str, Any]]
    has_more: bool


class StripeAPI:
    """Stripe, off the event loop. `keys` is asked at every call, so that new keys count at once."""

    def __init__(
        self,
        keys: Callable[[], Keys],
        clock: TrustedClock,
        api_base: str | None = None,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        network_retries: int = NETWORK_RETRIES,
    ) -> None:
        self._wire = Wire(
            keys,
            clock,
            api_base,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            network_retries=network_retries,
        )

    @property
    def state(self) -> StripeState:
        return self._wire.state

    def close(self, timeout: float = 1.0) -> None:
        """Let the threads go; wait at most `timeout` seconds for idle ones. A call in flight is abandoned."""
        self._wire.close(timeout)

    # -- reading ----------------------------------------------------------------------------------

    async def retrieve(self, object_id: str) -> dict[str, Any] | None:
        """The object with what belongs to it expanded (resources.py), or None if Stripe has none of that
        id.
        """
        kind = object_kind(object_id)
        if kind is None:
            raise PaymentError("invalid_argument", argument="id")
        try:
            return await self.get(
                f"{PATHS[kind]}/{object_id}",
                {"expand": expand(kind)},
                Expected(kind, object_id=object_id, expanded=expand(kind)),
            )
        except PaymentError as error:
            if is_missing(error):
                return None
            raise

    async def list_checkout_sessions(self, params: SessionListParams) -> Page:
        return await self._list("checkout.session", cast("dict[str, Any]", params))

    async def list_subscriptions(self, params: SubscriptionListParams) -> Page:
        return await self._list("subscription", cast("dict[str, Any]", params))

    async def list_invoices(self, params: InvoiceListParams) -> Page:
        return await self._list("invoice", cast("dict[str, Any]", params))

    async def list_disputes(self, params: DisputeListParams) -> Page:
        return await self._list("dispute", cast("dict[str, Any]", params))

    async def list_charges(self, params: ChargeListParams) -> Page:
        return await self._list("charge", cast("dict[str, Any]", params))

    async def list_prices(self, params: PriceListParams) -> Page:
        return await self._list("price", cast("dict[str, Any]", params))

    async def invoice_of_payment(self, payment_intent: str) -> str | None:
        """The id of the invoice that a payment intent paid (it is no field of the payment intent since
        2025-03-31).
        """
        params: InvoicePaymentListParams = {
            "payment": {"type": "payment_intent", "payment_intent": payment_intent},
            "limit": 1,
        }
        expected = Expected("list:invoice_payment")
        answer = await self.get("/v1/invoice_payments", cast("dict[str, Any]", params), expected)
        for payment in answer["data"]:
            invoice = payment.get("invoice")
            found = invoice.get("id") if isinstance(invoice, dict) else invoice
            return str(found) if found else None
        return None

    async def find_customer(self, router_id: str) -> dict[str, Any] | None:
        """The customer whose metadata names this router; the oldest, should there be several."""
        params: CustomerSearchParams = {"query": f"metadata['router_id']:'{router_id}'", "limit": 10}
        expected = Expected("list:customer")
        answer = await self.get("/v1/customers/search", cast("dict[str, Any]", params), expected)
        found = [
            customer
            for customer in answer["data"]
            if not customer.get("deleted") and (customer.get("metadata") or {}).get("router_id") == router_id
        ]
        return min(found, key=lambda customer: (customer.get("created", 0), customer["id"]), default=None)

    # -- writing ----------------------------------------------------------------------------------

    async def create_customer(self, params: CustomerCreateParams, idempotency_key: str) -> dict[str, Any]:
        path = "/v1/customers"
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, Expected("customer"))

    async def create_checkout_session(
        self, params: SessionCreateParams, idempotency_key: str
    ) -> dict[str, Any]:
        """The answer has the `url` of the page to pay on."""
        path, expected = "/v1/checkout/sessions", Expected("checkout.session", told=("url",))
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, expected)

    async def expire_checkout_session(self, session_id: str) -> dict[str, Any]:
        """Make an open session unpayable. Raises `stripe_error` if it is not open any more."""
        path = f"/v1/checkout/sessions/{session_id}/expire"
        expected = Expected("checkout.session", object_id=session_id)
        return await self.post(path, {}, f"expire-{session_id}", expected)

    async def create_refund(self, params: RefundCreateParams, idempotency_key: str) -> dict[str, Any]:
        path = "/v1/refunds"
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, Expected("refund"))

    async def preview_invoice(
        self, params: InvoiceCreatePreviewParams, idempotency_key: str
    ) -> dict[str, Any]:
        """What an invoice would be; nothing changes at Stripe (it is a POST all the same)."""
        path = "/v1/invoices/create_preview"
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, Expected("invoice"))

    async def update_subscription(
        self, subscription_id: str, params: SubscriptionUpdateParams, idempotency_key: str
    ) -> dict[str, Any]:
        path = f"/v1/subscriptions/{subscription_id}"
        expected = Expected("subscription", object_id=subscription_id)
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, expected)

    async def resume_subscription(
        self, subscription_id: str, params: SubscriptionResumeParams, idempotency_key: str
    ) -> dict[str, Any]:
        """Out of the status `paused` alone. Raises `payment_failed` where it cannot be paid."""
        path = f"/v1/subscriptions/{subscription_id}/resume"
        expected = Expected("subscription", object_id=subscription_id)
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, expected)

    async def cancel_subscription(
        self, subscription_id: str, params: SubscriptionCancelParams
    ) -> dict[str, Any]:
        """End it at once. A second request of that kind finds nothing to end, so it needs no key."""
        path = f"/v1/subscriptions/{subscription_id}"
        expected = Expected("subscription", object_id=subscription_id)
        return await self._wire.call("delete", path, cast("dict[str, Any]", params), None, expected)

    async def list_portal_configurations(self) -> list[dict[str, Any]]:
        path, expected = "/v1/billing_portal/configurations", Expected("list:billing_portal.configuration")
        return list((await self.get(path, {"active": True, "limit": 100}, expected))["data"])

    async def create_portal_configuration(
        self, params: ConfigurationCreateParams, idempotency_key: str
    ) -> dict[str, Any]:
        path, expected = "/v1/billing_portal/configurations", Expected("billing_portal.configuration")
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, expected)

    async def create_portal_session(
        self, params: PortalSessionCreateParams, idempotency_key: str
    ) -> dict[str, Any]:
        path, expected = "/v1/billing_portal/sessions", Expected("billing_portal.session")
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, expected)

    # -- setting the account up -------------------------------------------------------------------

    async def list_products(self, params: ProductListParams) -> Page:
        return await self._list("product", cast("dict[str, Any]", params))

    async def create_product(self, params: ProductCreateParams, idempotency_key: str) -> dict[str, Any]:
        path = "/v1/products"
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, Expected("product"))

    async def create_price(self, params: PriceCreateParams, idempotency_key: str) -> dict[str, Any]:
        path = "/v1/prices"
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, Expected("price"))

    async def list_webhook_endpoints(self) -> list[dict[str, Any]]:
        """All of the account's, newest first: Stripe allows sixteen a mode, which is one page."""
        path, expected = "/v1/webhook_endpoints", Expected("list:webhook_endpoint")
        return list((await self.get(path, {"limit": 100}, expected))["data"])

    async def create_webhook_endpoint(
        self, params: WebhookEndpointCreateParams, idempotency_key: str
    ) -> dict[str, Any]:
        """The answer, and no later one, has the endpoint's `secret`."""
        path, expected = "/v1/webhook_endpoints", Expected("webhook_endpoint", told=("secret",))
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, expected)

    async def update_webhook_endpoint(
        self, endpoint_id: str, params: WebhookEndpointUpdateParams, idempotency_key: str
    ) -> dict[str, Any]:
        path = f"/v1/webhook_endpoints/{endpoint_id}"
        expected = Expected("webhook_endpoint", object_id=endpoint_id)
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key, expected)

    async def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """One that is gone already counts as deleted."""
        try:
            path = f"/v1/webhook_endpoints/{endpoint_id}"
            await self._wire.call("delete", path, {}, None, ANYTHING)
        except PaymentError as error:
            if not is_missing(error):
                raise

    # -- what it talks with -----------------------------------------------------------------------

    @property
    def base(self) -> str:
        """Where Stripe is: https://api.stripe.com, or what STRIPE_API_BASE says."""
        return self._wire.base

    async def api_version(self) -> str:
        """The version that every request pins, and every webhook endpoint of ours."""
        return await self._wire.api_version()

    async def ca_bundle(self) -> str:
        """The file of certificate authorities that Stripe's certificate is verified with."""
        return await self._wire.ca_bundle()

    # -- the wire ---------------------------------------------------------------------------------

    async def get(
        self, path: str, params: Mapping[str, Any], expected: Expected = ANYTHING
    ) -> dict[str, Any]:
        return await self._wire.call("get", path, params, None, expected)

    async def post(
        self, path: str, params: Mapping[str, Any], idempotency_key: str, expected: Expected = ANYTHING
    ) -> dict[str, Any]:
        return await self._wire.call("post", path, params, idempotency_key, expected)

    async def _list(self, kind: str, params: Mapping[str, Any]) -> Page:
        asked = {"expand": expand(kind, in_list=True), **params}
        answer = await self.get(PATHS[kind], asked, Expected(f"list:{kind}", expanded=asked["expand"]))
        return Page(list(answer["data"]), bool(answer.get("has_more")))


def is_missing(error: PaymentError) -> bool:
    """Whether Stripe says that the object (or one named in the parameters) does not exist."""
    return bool(error.details.get("missing"))
