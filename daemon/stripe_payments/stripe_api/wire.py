"""One call to Stripe, off the event loop: in one of four threads, its outcome noted, logged and checked.

Every call has a connect timeout of 10 s and a read timeout of 30 s and is tried again twice by the SDK
where that is safe. The SDK's `raw_request` is used: its typed services would load about a hundred resource
classes to hand out what we keep as plain JSON.
"""

from __future__ import annotations

import ipaddress
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text
from stripe_payments.log import Log
from stripe_payments.stripe_api.faults import date_header, malformed, translate
from stripe_payments.stripe_api.validation import MalformedAnswerError, checked, parsed
from stripe_payments.stripe_api.worker_threads import OverloadError, WorkerThreads

if TYPE_CHECKING:
    from stripe import StripeClient

    from stripe_payments.clock import TrustedClock
    from stripe_payments.keys import Keys

__all__ = ["Expected", "StripeState", "Wire", "api_base_problem"]

_log = Log("stripe_api")

THREADS: Final = 4
CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 30.0
NETWORK_RETRIES: Final = 2
_LONGEST_DETAIL: Final = 200
_NO_TEXT = Text("it contains what is no text", "contiene qualcosa che non è testo")
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
class Expected:
    """What the answer has to be: an object of that `kind` (`list:KIND`: a page of them; None: anything), of
    that id, whole at these `expanded` paths, and with text in each of the fields `told`.
    """

    kind: str | None = None
    object_id: str | None = None
    expanded: Sequence[str] = ()
    told: Sequence[str] = ()

    def check(self, answer: dict[str, Any]) -> dict[str, Any]:
        """`answer` itself. Raises MalformedAnswerError."""
        checked(answer, self.kind, object_id=self.object_id, expanded=self.expanded)
        for name in self.told:
            if not answer.get(name):
                raise MalformedAnswerError(f"{self.kind}.{name}")
        return answer


ANYTHING: Final = Expected()


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


class Wire:
    """`keys` is asked at every call, so that new keys count at once."""

    def __init__(
        self,
        keys: Callable[[], Keys],
        clock: TrustedClock,
        api_base: str | None,
        *,
        connect_timeout: float,
        read_timeout: float,
        network_retries: int,
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

    @property
    def base(self) -> str:
        """Where Stripe is: https://api.stripe.com, or what STRIPE_API_BASE says."""
        return self._api_base or "https://api.stripe.com"

    def close(self, timeout: float) -> None:
        self._threads.close(timeout)

    async def api_version(self) -> str:
        return await self._threads.run(_pinned_version)

    async def ca_bundle(self) -> str:
        return await self._threads.run(_ca_bundle)

    async def call(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        idempotency_key: str | None,
        expected: Expected,
    ) -> dict[str, Any]:
        """The answer, checked. Raises PaymentError."""
        key = self._keys().secret_key
        if not key:
            raise PaymentError("not_configured")
        try:
            answer = await self._threads.run(
                lambda: self._request(key, method, path, params, idempotency_key, expected)
            )
        except OverloadError:
            raise PaymentError("timeout") from None
        if self._keys().secret_key != key:
            # it may tell of another account, or of test purchases where real ones count now
            raise PaymentError("stripe_error", reason=_OTHER_KEYS, transient=True)
        return answer

    def _request(
        self,
        key: str,
        method: str,
        path: str,
        params: Mapping[str, Any],
        idempotency_key: str | None,
        expected: Expected,
    ) -> dict[str, Any]:
        """In a worker thread: one call, its outcome noted and logged."""
        started = time.monotonic()
        call = f"{method.upper()} {path}"
        options: dict[str, Any] = {"idempotency_key": idempotency_key} if idempotency_key else {}
        sent = {name: value for name, value in params.items() if value is not None and value != []}
        request_id: str | None = None
        try:
            response = self._ask(key, method, path, {**sent, **options})
            request_id = response.request_id
            self._observe(response.headers)
            answer = expected.check(parsed(response.body))
        except MalformedAnswerError as error:
            fault = malformed(error.where, request_id)
            self._failed(fault, call, started)
            raise fault from error
        except PaymentError as fault:
            self._failed(fault, call, started)
            raise
        self._note(None)
        _log.info("call", call=call, request_id=request_id, ms=_elapsed(started))
        return answer

    def _ask(self, key: str, method: str, path: str, sent: Mapping[str, Any]) -> Any:
        """The SDK's response; what it raises comes out as PaymentError or MalformedAnswerError."""
        stripe = _sdk()
        client = self._client(key)
        try:
            # raw_request has no annotations in the SDK
            return cast(Any, client).raw_request(method, path, **sent)
        except stripe.StripeError as error:
            self._observe(error.headers)
            raise translate(error, self._clock.now()) from error
        except UnicodeEncodeError as error:
            raise PaymentError("invalid_argument", reason=_NO_TEXT) from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # the SDK takes an error of Stripe's at its word, and what is none of Stripe's may be anything
            raise MalformedAnswerError("error") from error

    def _failed(self, fault: PaymentError, call: str, started: float) -> None:
        self._note(fault)
        _log.warning(
            "call failed",
            call=call,
            error=fault.code,
            stripe_code=fault.details.get("stripe_code"),
            reason=_said(fault),
            request_id=fault.details.get("request_id"),
            ms=_elapsed(started),
        )

    def _client(self, key: str) -> StripeClient:
        stripe = _sdk()
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
            status, detail = "unreachable", _said(fault)[:_LONGEST_DETAIL]
        else:
            status, detail = "ok", ""  # Stripe is there and refused this one call
        if (status, detail) != (self._state.status, self._state.detail):
            self._state = StripeState(status, self._clock.now(), detail)


def _said(fault: PaymentError) -> str:
    reason = fault.details.get("reason", "")
    return reason.en if isinstance(reason, Text) else str(reason)


def _sdk() -> Any:
    # With STRIPE_LOG the SDK prints requests and answers past the journal: a new webhook's secret among them.
    os.environ.pop("STRIPE_LOG", None)
    import stripe

    return stripe


def _pinned_version() -> str:
    return str(_sdk().api_version)


def _ca_bundle() -> str:
    return str(_sdk().ca_bundle_path)


def _elapsed(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
