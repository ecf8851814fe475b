"""The verbs the daemon needs of Stripe, as coroutines.

Every call runs in one of four threads with a connect timeout of 10 s and a read timeout of 30 s, is tried
again twice by the SDK where that is safe, and carries an idempotency key if it is a POST. The SDK's
`raw_request` is used: its typed services would load about a hundred resource classes to hand out what we keep
as plain JSON; parameters are nevertheless typed by the SDK's own `stripe.params`.
"""

from __future__ import annotations

import ipaddress
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from stripe_payments.errors import PaymentError
from stripe_payments.journal import Journal
from stripe_payments.texts import Text

from .faults import date_header, is_transient, translate
from .resources import PATHS, answer_kind, expand, object_kind
from .shapes import misshapen
from .worker_threads import OverloadError, WorkerThreads

if TYPE_CHECKING:
    from stripe import StripeClient
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

    from stripe_payments.keys import Keys
    from stripe_payments.reconcile.trusted_clock import TrustedClock

__all__ = ["Page", "StripeAPI", "StripeState", "api_base_problem", "is_transient", "object_kind"]

_journal = Journal("stripe_api")

THREADS: Final = 4
CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 30.0
NETWORK_RETRIES: Final = 2
_NOT_STRIPES = Text(
    "what came was not Stripe's answer; something on the way to it is broken",
    "ciò che è arrivato non era la risposta di Stripe; qualcosa lungo il percorso è guasto",
)
_OTHER_KEYS = Text("the keys were changed meanwhile", "nel frattempo le chiavi sono state cambiate")


@dataclass(frozen=True, slots=True)
class StripeState:
    """How Stripe last answered us.

    status is ok, unreachable, unauthorized (the key is wrong or may not), unconfigured (there is no key) or
    unknown (nothing was asked yet); since is trusted epoch seconds; detail names the fault (dns, tls, clock,
    timeout, …).
    """

    status: str
    since: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first."""

    data: list[dict[str, Any]]
    has_more: bool


def api_base_problem(url: str) -> str | None:
    """Why an address may not stand in for https://api.stripe.com, or None if it may (https, or this very
    machine).
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
        return "not a plain http(s) address"
    if parts.scheme == "https":
        return None
    if parts.scheme != "http":
        return "neither https nor http"
    if parts.hostname == "localhost":
        return None
    try:
        loopback = ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        loopback = False
    return (
        None if loopback else "http is accepted for loopback alone: the secret key would travel unencrypted"
    )


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
        if api_base is not None and (problem := api_base_problem(api_base)) is not None:
            raise ValueError(f"STRIPE_API_BASE: {problem}")
        self._keys = keys
        self._clock = clock
        self._api_base = api_base.rstrip("/") if api_base else None
        self._timeout = (connect_timeout, read_timeout)
        self._retries = network_retries
        self._http: Any = None
        self._clients: dict[str, StripeClient] = {}
        self._lock = threading.Lock()
        self._threads = WorkerThreads(THREADS, "stripe", on_exit=self._close_session)
        self._state = StripeState("unknown", None)

    @property
    def state(self) -> StripeState:
        if not self._keys().secret_key:
            return StripeState("unconfigured", self._state.since)
        return self._state

    def close(self, timeout: float = 1.0) -> None:
        """Let the threads go; wait at most `timeout` seconds for idle ones. A call in flight is abandoned."""
        self._threads.close(timeout)

    # -- reading ----------------------------------------------------------------------------------

    async def retrieve(self, object_id: str) -> dict[str, Any] | None:
        """The object with what belongs to it expanded (resources.py), or None if Stripe has none of that
        id.
        """
        kind = object_kind(object_id)
        if kind is None:
            raise PaymentError("invalid_argument", argument="id")
        try:
            return await self.get(f"{PATHS[kind]}/{object_id}", {"expand": expand(kind)})
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
        answer = await self.get("/v1/invoice_payments", cast("dict[str, Any]", params))
        for payment in answer.get("data", []):
            invoice = payment.get("invoice")
            found = invoice.get("id") if isinstance(invoice, dict) else invoice
            return str(found) if found else None
        return None

    async def find_customer(self, router_id: str) -> dict[str, Any] | None:
        """The customer whose metadata names this router; the oldest, should there be several."""
        params: CustomerSearchParams = {"query": f"metadata['router_id']:'{router_id}'", "limit": 10}
        answer = await self.get("/v1/customers/search", cast("dict[str, Any]", params))
        found = [
            customer
            for customer in answer.get("data", [])
            if not customer.get("deleted") and (customer.get("metadata") or {}).get("router_id") == router_id
        ]
        return min(found, key=lambda customer: (customer.get("created", 0), customer["id"]), default=None)

    # -- writing ----------------------------------------------------------------------------------

    async def create_customer(self, params: CustomerCreateParams, idempotency_key: str) -> dict[str, Any]:
        return await self.post("/v1/customers", cast("dict[str, Any]", params), idempotency_key)

    async def create_checkout_session(
        self, params: SessionCreateParams, idempotency_key: str
    ) -> dict[str, Any]:
        return await self.post("/v1/checkout/sessions", cast("dict[str, Any]", params), idempotency_key)

    async def expire_checkout_session(self, session_id: str) -> dict[str, Any]:
        """Make an open session unpayable. Raises `stripe_error` if it is not open any more."""
        return await self.post(f"/v1/checkout/sessions/{session_id}/expire", {}, f"expire-{session_id}")

    async def create_refund(self, params: RefundCreateParams, idempotency_key: str) -> dict[str, Any]:
        return await self.post("/v1/refunds", cast("dict[str, Any]", params), idempotency_key)

    async def preview_invoice(
        self, params: InvoiceCreatePreviewParams, idempotency_key: str
    ) -> dict[str, Any]:
        """What an invoice would be; nothing changes at Stripe (it is a POST all the same)."""
        return await self.post("/v1/invoices/create_preview", cast("dict[str, Any]", params), idempotency_key)

    async def update_subscription(
        self, subscription_id: str, params: SubscriptionUpdateParams, idempotency_key: str
    ) -> dict[str, Any]:
        path = f"/v1/subscriptions/{subscription_id}"
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key)

    async def resume_subscription(
        self, subscription_id: str, params: SubscriptionResumeParams, idempotency_key: str
    ) -> dict[str, Any]:
        """Out of the status `paused` alone. Raises `payment_failed` where it cannot be paid."""
        path = f"/v1/subscriptions/{subscription_id}/resume"
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key)

    async def cancel_subscription(
        self, subscription_id: str, params: SubscriptionCancelParams
    ) -> dict[str, Any]:
        """End it at once. A second request of that kind finds nothing to end, so it needs no key."""
        path = f"/v1/subscriptions/{subscription_id}"
        return await self._call("delete", path, cast("dict[str, Any]", params), None)

    async def list_portal_configurations(self) -> list[dict[str, Any]]:
        answer = await self.get("/v1/billing_portal/configurations", {"active": True, "limit": 100})
        return list(answer.get("data", []))

    async def create_portal_configuration(
        self, params: ConfigurationCreateParams, idempotency_key: str
    ) -> dict[str, Any]:
        path = "/v1/billing_portal/configurations"
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key)

    async def create_portal_session(
        self, params: PortalSessionCreateParams, idempotency_key: str
    ) -> dict[str, Any]:
        return await self.post("/v1/billing_portal/sessions", cast("dict[str, Any]", params), idempotency_key)

    # -- setting the account up -------------------------------------------------------------------

    async def list_products(self, params: ProductListParams) -> Page:
        return await self._list("product", cast("dict[str, Any]", params))

    async def create_product(self, params: ProductCreateParams, idempotency_key: str) -> dict[str, Any]:
        return await self.post("/v1/products", cast("dict[str, Any]", params), idempotency_key)

    async def create_price(self, params: PriceCreateParams, idempotency_key: str) -> dict[str, Any]:
        return await self.post("/v1/prices", cast("dict[str, Any]", params), idempotency_key)

    async def list_webhook_endpoints(self) -> list[dict[str, Any]]:
        """All of the account's, newest first: Stripe allows sixteen a mode, which is one page."""
        answer = await self.get("/v1/webhook_endpoints", {"limit": 100})
        return list(answer.get("data", []))

    async def create_webhook_endpoint(
        self, params: WebhookEndpointCreateParams, idempotency_key: str
    ) -> dict[str, Any]:
        """The answer, and no later one, has the endpoint's `secret`."""
        return await self.post("/v1/webhook_endpoints", cast("dict[str, Any]", params), idempotency_key)

    async def update_webhook_endpoint(
        self, endpoint_id: str, params: WebhookEndpointUpdateParams, idempotency_key: str
    ) -> dict[str, Any]:
        path = f"/v1/webhook_endpoints/{endpoint_id}"
        return await self.post(path, cast("dict[str, Any]", params), idempotency_key)

    async def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """One that is gone already counts as deleted."""
        try:
            await self._call("delete", f"/v1/webhook_endpoints/{endpoint_id}", {}, None)
        except PaymentError as error:
            if not is_missing(error):
                raise

    # -- what it talks with -----------------------------------------------------------------------

    @property
    def base(self) -> str:
        """Where Stripe is: https://api.stripe.com, or what STRIPE_API_BASE says."""
        return self._api_base or "https://api.stripe.com"

    async def api_version(self) -> str:
        """The version that every request pins, and every webhook endpoint of ours."""
        return await self._threads.run(_pinned_version)

    async def ca_bundle(self) -> str:
        """The file of certificate authorities that Stripe's certificate is verified with."""
        return await self._threads.run(_ca_bundle)

    # -- the wire ---------------------------------------------------------------------------------

    async def get(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("get", path, params, None)

    async def post(self, path: str, params: Mapping[str, Any], idempotency_key: str) -> dict[str, Any]:
        return await self._call("post", path, params, idempotency_key)

    async def _list(self, kind: str, params: Mapping[str, Any]) -> Page:
        answer = await self.get(PATHS[kind], {"expand": expand(kind, in_list=True), **params})
        return Page(list(answer.get("data", [])), bool(answer.get("has_more")))

    async def _call(
        self, method: str, path: str, params: Mapping[str, Any], idempotency_key: str | None
    ) -> dict[str, Any]:
        key = self._keys().secret_key
        if not key:
            raise PaymentError("not_configured")
        try:
            answer = await self._threads.run(
                lambda: self._request(key, method, path, params, idempotency_key)
            )
        except OverloadError:
            raise PaymentError("timeout") from None
        if self._keys().secret_key != key:
            # it may tell of another account, or of test purchases where real ones count now
            raise PaymentError("stripe_error", reason=_OTHER_KEYS, transient=True)
        return answer

    def _request(
        self, key: str, method: str, path: str, params: Mapping[str, Any], idempotency_key: str | None
    ) -> dict[str, Any]:
        """In a worker thread: one call, its outcome noted and logged."""
        import stripe

        started = time.monotonic()
        options: dict[str, Any] = {"idempotency_key": idempotency_key} if idempotency_key else {}
        sent = {name: value for name, value in params.items() if value is not None and value != []}
        try:
            # raw_request has no annotations in the SDK
            response = cast(Any, self._client(key)).raw_request(method, path, **sent, **options)
        except stripe.StripeError as error:
            self._observe(error.headers)
            fault = translate(error, self._clock.now())
            self._note(fault)
            _journal.warning(
                "call failed",
                call=f"{method.upper()} {path}",
                error=fault.code,
                stripe_code=fault.details.get("stripe_code"),
                reason=fault.details.get("reason"),
                request_id=error.request_id,
                ms=_elapsed(started),
            )
            raise fault from error
        self._observe(response.headers)
        answer = json.loads(response.body)
        if (problem := misshapen(answer, answer_kind(method, path))) is not None:
            fault = PaymentError("stripe_error", reason=_NOT_STRIPES, transient=True)
            self._note(fault)
            _journal.warning("an answer is not Stripe's", call=f"{method.upper()} {path}", problem=problem)
            raise fault
        self._note(None)
        _journal.info(
            "call", call=f"{method.upper()} {path}", request_id=response.request_id, ms=_elapsed(started)
        )
        return cast("dict[str, Any]", answer)

    def _client(self, key: str) -> StripeClient:
        import stripe

        with self._lock:
            client = self._clients.get(key)
            if client is None:
                if self._http is None:
                    # no figures about our calls in every request; a global of the SDK, read at each call
                    stripe.enable_telemetry = False
                    stripe.set_app_info("router-os-stripe-payments")
                    # one session (connection pool) a thread: the client keeps them in a thread-local
                    self._http = stripe.RequestsClient(timeout=self._timeout)
                bases: Any = {"api": self._api_base, "files": self._api_base} if self._api_base else None
                client = stripe.StripeClient(
                    key,
                    stripe_version=stripe.api_version,
                    base_addresses=bases,
                    max_network_retries=self._retries,
                    http_client=self._http,
                )
                self._clients = {key: client}  # the old key is forgotten
            return client

    def _close_session(self) -> None:
        """In a worker thread that leaves: its pooled connections go with it."""
        if self._http is not None:
            self._http.close()

    def _observe(self, headers: Mapping[str, str] | None) -> None:
        if (date := date_header(headers)) is not None:
            self._clock.observe(date)

    def _note(self, fault: PaymentError | None) -> None:
        if fault is None:
            status, detail = "ok", ""
        elif fault.code in ("stripe_key_invalid", "stripe_key_permission"):
            status, detail = "unauthorized", fault.code
        elif fault.code == "stripe_unreachable" or fault.details.get("transient"):
            reason = fault.details.get("reason", "")
            status, detail = "unreachable", reason.en if isinstance(reason, Text) else str(reason)
        else:
            status, detail = "ok", ""  # Stripe is there and refused this one call
        if (status, detail) != (self._state.status, self._state.detail):
            self._state = StripeState(status, self._clock.now(), detail)


def _pinned_version() -> str:
    import stripe

    return stripe.api_version


def _ca_bundle() -> str:
    import stripe

    return stripe.ca_bundle_path


def is_missing(error: PaymentError) -> bool:
    """Whether Stripe says that the object (or one named in the parameters) does not exist."""
    return error.details.get("stripe_code") == "resource_missing" or error.details.get("http_status") == 404


def _elapsed(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
