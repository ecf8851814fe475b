"""Requests to Stripe, as coroutines: off the event loop, bounded in time, logged and validated.

Every call runs in one of a few threads, has a connect timeout of 10 s and a read timeout of 20 s, and is
retried twice by the SDK where that is safe. The SDK's `raw_request` is used: its typed services would load
about a hundred resource classes to produce what is kept here as plain JSON.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import ipaddress
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast
from urllib.parse import urlsplit

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.log import Log
from stripe_payments.stripe_api.failures import is_missing, malformed, translate
from stripe_payments.stripe_api.resources import RESOURCES, object_kind
from stripe_payments.stripe_api.validation import Expected, MalformedResponseError, read_response

if TYPE_CHECKING:
    from stripe import StripeClient
    from stripe.params import CustomerSearchParams, InvoiceCreatePreviewParams

    from stripe_payments.clock import TrustedClock
    from stripe_payments.keys import Keys

__all__ = ["Page", "RequestBudget", "StripeAPI", "StripeState", "api_base_problem"]

T = TypeVar("T")

_log = Log("stripe_api")

STRIPE: Final = "https://api.stripe.com"
THREADS: Final = 4
MAX_QUEUED: Final = 64
"""Calls that wait for a thread; one more is refused, because it would wait longer than any caller does."""
CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 20.0
"""Less than a caller waits (25 s): after a response that got lost there is time for a second request."""
NETWORK_RETRIES: Final = 2
IDEMPOTENCY_KEY_TTL: Final = 23 * 3600
"""Seconds in which Stripe certainly still knows an idempotency key: a day, less an hour for our clock.
https://docs.stripe.com/api/idempotent_requests
"""
MAX_LOOKUP_KEYS: Final = 10
"""Lookup keys in one list of prices. https://docs.stripe.com/api/prices/list"""
NEWEST_CUSTOMERS: Final = 100
"""The longest page that Stripe lists."""
_LONGEST_DETAIL: Final = 200
_NO_TEXT = _("it contains invalid characters")
_OTHER_KEYS = _("the keys were changed in the meantime")


@dataclass(frozen=True, slots=True)
class StripeState:
    """The outcome of the last call.

    status is ok, unreachable, unauthorized (the key is wrong or lacks a permission), unconfigured (there is
    no key) or unknown (no call yet); since is trusted epoch seconds; detail names the failure (dns, tls,
    clock, timeout, …).
    """

    status: str
    since: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first."""

    data: list[dict[str, Any]]
    has_more: bool


class RequestBudget(Protocol):
    """What requests may be sent where several processes share one Stripe account."""

    async def take(self) -> None:
        """Return when one request may be sent; raises PaymentError where that would take too long."""

    async def refused(self) -> None:
        """Stripe answered that there were too many."""


def api_base_problem(url: str) -> str | None:
    """Why an address may not replace https://api.stripe.com, or None if it may (https, or loopback)."""
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
    """`keys` is called for every request, so that new keys apply at once.

    Methods take the `kind` of a resource (resources.py) and the parameters that Stripe documents for it;
    every POST has an idempotency key. They raise PaymentError.

    threads: how many requests are sent at the same time; budget: limits them together with other processes;
    on_request: called in a worker thread after each, with ``ok`` or the error's code, and its seconds.
    """

    def __init__(
        self,
        keys: Callable[[], Keys],
        clock: TrustedClock,
        api_base: str | None = None,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        network_retries: int = NETWORK_RETRIES,
        threads: int = THREADS,
        budget: RequestBudget | None = None,
        on_request: Callable[[str, float], None] | None = None,
    ) -> None:
        if api_base is not None and (problem := api_base_problem(api_base)) is not None:
            raise ValueError(f"STRIPE_API_BASE: {problem}")
        self.base = (api_base or STRIPE).rstrip("/")
        """https://api.stripe.com, or what STRIPE_API_BASE says."""
        self._keys = keys
        self._clock = clock
        self._timeout = (connect_timeout, read_timeout)
        self._retries = network_retries
        self._client: tuple[str, StripeClient] | None = None
        self._session: Any = None
        self._lock = threading.Lock()
        # The interpreter joins these threads when it exits; __main__ ends the process without that, because
        # a call that waits 30 s for Stripe must not delay a stop.
        self._threads = threads
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "stripe")
        self._budget = budget
        self._on_request = on_request
        self._calls: set[concurrent.futures.Future[Any]] = set()
        self._state = StripeState("unknown", None)
        self.lacks_search = False
        """Whether Stripe refused the last search: the account is not offered the Search API."""
        self._waiting: dict[int, float] = {}
        """By thread: since when (monotonic) it has waited for a response."""

    @property
    def state(self) -> StripeState:
        if not self._keys().secret_key:
            return StripeState("unconfigured", self._state.since)
        return self._state

    def silent_s(self) -> float:
        """For how many seconds the oldest request has been waiting for its response; 0 if none is."""
        return max((time.monotonic() - since for since in list(self._waiting.values())), default=0.0)

    def close(self, timeout: float = 0.2) -> None:
        """Wait at most `timeout` seconds for calls in progress, then abandon them (they are repeated under
        the same idempotency key after the next start). Idempotent.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        _, hanging = concurrent.futures.wait(list(self._calls), timeout)
        if not hanging:
            self._pool.shutdown(wait=True)
        if self._session is not None:
            self._session.close()

    # -- requests ---------------------------------------------------------------------------------

    async def retrieve(self, object_id: str) -> dict[str, Any] | None:
        """The object with everything that its resource expands, or None if Stripe has none of that id."""
        kind = object_kind(object_id)
        if kind is None:
            raise PaymentError("invalid_argument", argument="id")
        try:
            return await self.get(kind, object_id)
        except PaymentError as error:
            if is_missing(error):
                return None
            raise

    async def get(self, kind: str, object_id: str, expand: Sequence[str] | None = None) -> dict[str, Any]:
        """As `retrieve`, for ids without a known prefix and other expansions; `is_missing(error)` if Stripe
        has none of that id.
        """
        resource = RESOURCES[kind]
        expanded = resource.expand if expand is None else expand
        return await self._call(
            "get",
            f"{resource.path}/{object_id}",
            {"expand": list(expanded)},
            Expected(kind, object_id=object_id, expanded=expanded),
        )

    async def list(self, kind: str, params: Mapping[str, Any]) -> Page:
        """One page; `expand` among the parameters replaces what the resource expands."""
        resource = RESOURCES[kind]
        wanted = {"expand": [f"data.{path}" for path in resource.expand], **params}
        response = await self._call(
            "get", resource.path, wanted, Expected(kind, is_list=True, expanded=wanted["expand"])
        )
        return Page(response["data"], response["has_more"])

    async def create(self, kind: str, params: Mapping[str, Any], idempotency_key: str) -> dict[str, Any]:
        """The new object, expanded as by `retrieve`: it is stored like one that was fetched."""
        resource = RESOURCES[kind]
        return await self._call(
            "post",
            resource.path,
            {"expand": list(resource.expand), **params},
            Expected(kind, expanded=resource.expand, required=resource.required),
            idempotency_key,
        )

    async def update(
        self, kind: str, object_id: str, params: Mapping[str, Any], idempotency_key: str, action: str = ""
    ) -> dict[str, Any]:
        """Change an object, or perform an `action` on it ("expire", "resume")."""
        path = f"{RESOURCES[kind].path}/{object_id}"
        return await self._call(
            "post",
            f"{path}/{action}" if action else path,
            params,
            Expected(kind, object_id=object_id),
            idempotency_key,
        )

    async def delete(self, kind: str, object_id: str) -> None:
        """Delete an object, cancel a subscription at once. One that does not exist counts as deleted."""
        try:
            await self._call(
                "delete", f"{RESOURCES[kind].path}/{object_id}", {}, Expected(kind, object_id=object_id)
            )
        except PaymentError as error:
            if not is_missing(error):
                raise

    async def preview_invoice(
        self, params: InvoiceCreatePreviewParams, idempotency_key: str
    ) -> dict[str, Any]:
        """The invoice that a change would lead to. It is a POST, but changes nothing at Stripe."""
        path = f"{RESOURCES['invoice'].path}/create_preview"
        return await self._call("post", path, params, Expected("invoice"), idempotency_key)

    async def find_customer(self, router_id: str) -> dict[str, Any] | None:
        """The customer whose metadata names this router; the oldest, if there are several."""
        return next(iter(await self.find_customers(router_id)), None)

    async def find_customers(self, router_id: str) -> Sequence[dict[str, Any]]:
        """All of them, the oldest first.

        Search is not offered to every account; without it, only the newest customers are known.
        https://docs.stripe.com/api/customers/search
        """
        found = await self._search_customers(router_id)
        return await self._find_new_customers(router_id) if found is None else _of_router(router_id, found)

    async def _search_customers(self, router_id: str) -> Sequence[dict[str, Any]] | None:
        """None where the account is not offered the Search API."""
        params: CustomerSearchParams = {"query": f"metadata['router_id']:'{router_id}'", "limit": 10}
        path = f"{RESOURCES['customer'].path}/search"
        try:
            response = await self._call("get", path, params, Expected("customer", is_list=True))
        except PaymentError as error:
            refused = error.code in ("stripe_error", "stripe_key_permission")
            if not refused or error.details.get("http_status") not in (400, 403, 404):
                raise
            self.lacks_search = True
            return None
        self.lacks_search = False
        found: Sequence[dict[str, Any]] = response["data"]
        return found

    async def find_new_customer(self, router_id: str) -> dict[str, Any] | None:
        """As `find_customer`, among the NEWEST_CUSTOMERS of the account: lists, unlike Search, do not lag."""
        return next(iter(await self._find_new_customers(router_id)), None)

    async def _find_new_customers(self, router_id: str) -> Sequence[dict[str, Any]]:
        page = await self.list("customer", {"limit": NEWEST_CUSTOMERS})
        return _of_router(router_id, page.data)

    async def api_version(self) -> str:
        """The version that every request pins, and every webhook endpoint that we create."""
        return await self._in_thread(lambda: str(_sdk().api_version))

    async def ca_bundle(self) -> str:
        """The file of certificate authorities that Stripe's certificate is verified with."""
        return await self._in_thread(lambda: str(_sdk().ca_bundle_path))

    # -- one call ---------------------------------------------------------------------------------

    async def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        expected: Expected,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """The validated response. Parameters that are None or an empty list are not sent."""
        key = self._keys().secret_key
        if not key:
            raise PaymentError("not_configured")
        sent = {name: value for name, value in params.items() if value is not None and value != []}
        if idempotency_key is not None:
            sent["idempotency_key"] = idempotency_key
        response = await self._within_budget(lambda: self._request(key, method, path, sent, expected))
        if self._keys().secret_key != key:
            # it may belong to another account, or to test mode where live mode counts now
            raise PaymentError("stripe_error", reason=_OTHER_KEYS, transient=True)
        return response

    async def _within_budget(self, call: Callable[[], T]) -> T:
        if self._budget is None:
            return await self._in_thread(call)
        await self._budget.take()
        try:
            return await self._in_thread(call)
        except PaymentError as error:
            # 429 also says that another request is changing the same object: lock_timeout
            if error.code == "rate_limited" and error.details.get("stripe_code") != "lock_timeout":
                await self._budget.refused()
            raise

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """Cancelling the caller cancels a call that still waits for a thread."""
        if len(self._calls) >= self._threads + MAX_QUEUED:
            raise PaymentError("timeout")
        future = self._pool.submit(call)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return await asyncio.wrap_future(future)

    def _request(
        self, key: str, method: str, path: str, sent: Mapping[str, Any], expected: Expected
    ) -> dict[str, Any]:
        """In a worker thread: one call; its outcome is recorded and logged."""
        started = time.monotonic()
        call = f"{method.upper()} {path}"
        request_id: str | None = None
        self._waiting[threading.get_ident()] = started
        try:
            response = self._send(key, method, path, sent)
            request_id = response.request_id
            self._clock.observe_header(response.headers.get("date"))
            answer = read_response(response.body, expected)
        except MalformedResponseError as error:
            failure = malformed(error.where, request_id)
            self._failed(failure, call, started)
            raise failure from error
        except PaymentError as failure:
            self._failed(failure, call, started)
            raise
        finally:
            del self._waiting[threading.get_ident()]
        self._record("ok")
        self._report("ok", started)
        _log.debug("request", request=call, request_id=request_id, ms=_elapsed(started))
        return answer

    def _send(self, key: str, method: str, path: str, sent: Mapping[str, Any]) -> Any:
        """The SDK's response; its exceptions become PaymentError or MalformedResponseError."""
        stripe = _sdk()
        try:
            # raw_request has no annotations in the SDK
            return cast(Any, self._client_for(key)).raw_request(method, path, **sent)
        except stripe.StripeError as error:
            self._clock.observe_header((error.headers or {}).get("date"))
            raise translate(error, self._clock.now()) from error
        except UnicodeEncodeError as error:
            raise PaymentError("invalid_argument", reason=_NO_TEXT) from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # the SDK expects an error to be of Stripe's shape; a proxy's may be of any
            raise MalformedResponseError("error") from error

    def _client_for(self, key: str) -> StripeClient:
        stripe = _sdk()
        with self._lock:
            if self._client is None or self._client[0] != key:
                # no figures about our calls in every request; a global of the SDK, read at each call
                stripe.enable_telemetry = False
                stripe.set_app_info("router-os-stripe-payments")
                if self._session is None:
                    self._session = _http_session(self.base, self._threads)
                    _exempt_modules_from_collection()
                client = stripe.StripeClient(
                    key,
                    stripe_version=stripe.api_version,
                    base_addresses={"api": self.base},
                    max_network_retries=self._retries,  # without it, the SDK's client does not retry at all
                    http_client=stripe.RequestsClient(timeout=self._timeout, session=self._session),
                )
                self._client = (key, client)
            return self._client[1]

    def _report(self, outcome: str, started: float) -> None:
        if self._on_request is not None:
            self._on_request(outcome, time.monotonic() - started)

    def _failed(self, failure: PaymentError, call: str, started: float) -> None:
        self._report(failure.code, started)
        reason = str(failure.details.get("reason", ""))
        if failure.code in ("stripe_key_invalid", "stripe_key_permission"):
            self._record("unauthorized", failure.code)
        elif failure.code in ("stripe_unreachable", "library_missing") or failure.details.get("transient"):
            self._record("unreachable", reason[:_LONGEST_DETAIL])
        else:
            self._record("ok")  # Stripe answers and refused this one call
        _log.warning(
            "request failed",
            request=call,
            error=failure.code,
            stripe_code=failure.details.get("stripe_code"),
            reason=reason,
            request_id=failure.details.get("request_id"),
            ms=_elapsed(started),
        )

    def _record(self, status: str, detail: str = "") -> None:
        if (status, detail) != (self._state.status, self._state.detail):
            self._state = StripeState(status, self._clock.now(), detail)


def _of_router(router_id: str, customers: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    found = [
        customer
        for customer in customers
        if not customer.get("deleted") and (customer.get("metadata") or {}).get("router_id") == router_id
    ]
    return sorted(found, key=lambda customer: (customer.get("created", 0), customer["id"]))


def _sdk() -> Any:
    """Raises PaymentError ``library_missing`` on an image that is made for hub mode."""
    # With STRIPE_LOG the SDK prints requests and responses to stderr: a new webhook's secret among them.
    os.environ.pop("STRIPE_LOG", None)
    try:
        import stripe
    except ModuleNotFoundError as error:
        raise PaymentError("library_missing") from error
    return stripe


def _exempt_modules_from_collection() -> None:
    """All modules are loaded now, and stay: 40,000 objects that a full garbage collection would traverse each
    time while nothing else runs (15 ms on a fast machine).
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def _http_session(base: str, threads: int) -> Any:
    """The HTTP session of all threads, with a connection for each.

    `trust_env` off: requests would replace the Authorization header with the credentials of a `.netrc` in
    HOME (a line `default` is enough), and send an http request for loopback, key included, to the proxy of
    the environment. A proxy for https is kept: it sees only the TLS connection.
    """
    import requests

    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=max(threads, THREADS)))
    if base.startswith("https:"):
        session.proxies.update(requests.utils.get_environ_proxies(base))
    return session


def _elapsed(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
