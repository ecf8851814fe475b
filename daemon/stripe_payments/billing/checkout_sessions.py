"""Create Checkout sessions: nothing is bought twice, no payment is lost.

Two things are durable before the buyer is sent to Stripe: the idempotency key, before the request (after a
crash, the same request is repeated and returns the same session), and the session's id, before its URL is
returned.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from stripe_payments.backoff import Backoff
from stripe_payments.billing.customer import CustomerService
from stripe_payments.billing.eligibility import already_owned, read_ownership
from stripe_payments.billing.prices import PriceIds
from stripe_payments.billing.return_urls import ReturnUrls
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.settings import Price, Settings
from stripe_payments.shared_tasks import SharedTasks
from stripe_payments.stripe_api import IDEMPOTENCY_KEY_TTL, StripeAPI, is_replayed, is_transient
from stripe_payments.sync.fetch import units_of

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.ledger import Checkout, Ledger, Transaction
    from stripe_payments.ledger.checkouts import Mode
    from stripe_payments.stripe_api.parameters import SessionCreateParams
    from stripe_payments.sync.reconciler import Reconciler

_log = Log("checkout")

KEY_IN_USE_RETRIES: Final = 5
"""About ten seconds: longer than Stripe takes for a session."""

REUSED_FOR: Final = 1800
"""Seconds in which the same order returns the same session: a double click, a retry, a second tab."""

_LOCALES: Final = frozenset(
    [
        "auto",
        "bg",
        "cs",
        "da",
        "de",
        "el",
        "en",
        "en-GB",
        "es",
        "es-419",
        "et",
        "fi",
        "fil",
        "fr",
        "fr-CA",
        "hi-IN",
        "hr",
        "hu",
        "id",
        "it",
        "ja",
        "ko",
        "lt",
        "lv",
        "ms",
        "mt",
        "nb",
        "nl",
        "pl",
        "pt",
        "pt-BR",
        "ro",
        "ru",
        "sk",
        "sl",
        "sv",
        "th",
        "tr",
        "vi",
        "zh",
        "zh-HK",
        "zh-TW",
    ]
)
"""Stripe's own list: stripe.params.checkout.SessionCreateParams.locale"""


@dataclass(frozen=True, slots=True)
class _Order:
    """Two requests with equal orders get the same session."""

    price_alias: str
    success_url: str
    cancel_url: str
    locale: str


class CheckoutService:
    """`poll_wakeup` is set when a checkout has been opened: the poller watches it from then on."""

    def __init__(
        self,
        ledger: Ledger,
        stripe: StripeAPI,
        reconciler: Reconciler,
        settings: Callable[[], Settings],
        clock: TrustedClock,
        customers: CustomerService,
        prices: PriceIds,
        return_urls: ReturnUrls,
        poll_wakeup: asyncio.Event,
    ) -> None:
        self._ledger = ledger
        self._stripe = stripe
        self._reconciler = reconciler
        self._settings = settings
        self._clock = clock
        self._customers = customers
        self._prices = prices
        self._return_urls = return_urls
        self._poll_wakeup = poll_wakeup
        self._opening: SharedTasks[_Order, Checkout] = SharedTasks()
        self._finishing: SharedTasks[int, Checkout] = SharedTasks()
        self._expiring: set[asyncio.Task[None]] = set()
        self._last_under_other_keys = 0

    async def create(
        self,
        price_id: str,
        success_url: str | None = None,
        cancel_url: str | None = None,
        locale: str | None = None,
        origin: str | None = None,
    ) -> dict[str, str]:
        """Return `{session_id, checkout_url}` for a price of the catalog (its alias or Stripe's id).

        URLs and `origin` as for `ReturnUrls.for_checkout`. Raises disabled, not_configured, unknown_price,
        price_unavailable, already_owned, invalid_argument, foreign_return_url, and Stripe's errors.
        """
        settings = self._settings()
        if not settings.enabled:
            raise PaymentError("disabled")
        if not price_id:
            raise PaymentError("invalid_argument", argument="price_id")
        price = settings.price(price_id)
        if price is None:
            raise PaymentError("unknown_price", price_id=price_id)
        success, cancel = await self._return_urls.for_checkout(success_url, cancel_url, origin)
        order = _Order(price.alias, success, cancel, _stripe_locale(locale or settings.locale))
        if self._stripe.state.status == "unconfigured":
            raise PaymentError("not_configured")
        ownership = read_ownership(self._reconciler.state)
        if (owned := already_owned(price, ownership, settings)) is not None:
            raise PaymentError("already_owned", **owned)
        checkout = await self._opening.run(order, lambda: self._open(order, price))
        return {"session_id": checkout.session_id or "", "checkout_url": checkout.url or ""}

    async def resume(self) -> None:
        """At boot: finish the checkouts that a crash interrupted. Returns when there are none left."""
        backoff = Backoff(2.0, 300.0)
        while leftover := await self._ledger.read(_without_session):
            for checkout in leftover:
                try:
                    await self._finish(checkout)
                except PaymentError as error:
                    _log.info("checkout not resumed yet", error=error.code)
            if await self._ledger.read(_without_session):
                await asyncio.sleep(backoff.next_delay())

    async def withdraw(self, checkout: Checkout) -> bool:
        """Expire an open session that would now charge a second time; return whether it was expired."""
        settings = self._settings()
        price = settings.price(checkout.price_alias)
        if price is None or checkout.session_id is None:
            return False
        ownership = read_ownership(self._reconciler.state)
        if already_owned(price, ownership, settings) is None:
            return False
        return await self._expire(checkout.session_id)

    async def keys_changed(self) -> None:
        """The new keys may belong to another account or mode: prices and sessions of the old ones are not
        used any more.
        """
        self._prices.invalidate()
        latest = await self._ledger.read(lambda tx: tx.checkouts.latest(1))
        self._last_under_other_keys = latest[0].local_id if latest else 0

    async def close(self) -> None:
        await self._opening.close()
        await self._finishing.close()
        for task in self._expiring:
            task.cancel()
        await asyncio.gather(*self._expiring, return_exceptions=True)

    async def _open(self, order: _Order, price: Price) -> Checkout:
        now = self._now()
        others = [
            other
            for other in await self._ledger.read(lambda tx: tx.checkouts.open())
            if other.price_alias == price.alias
        ]
        stripe_price = await self._prices.id_of(price)
        for other in others:
            if other.local_id <= self._last_under_other_keys or other.price_id != stripe_price:
                continue  # it would be paid to another account, or at another amount than is shown now
            if _order_of(other) == order and abs(now - other.created_at) < REUSED_FOR:
                return other if other.session_id else await self._finish(other)
        await self._customers.ensure()
        mode: Mode = "payment" if price.interval is None else "subscription"
        checkout = await self._record(order, stripe_price, mode, self._now())
        opened = await self._finish(checkout)
        for other in others:
            if other.session_id is not None:
                # the same price with another return URL (the QR code after the button): only one may be paid
                task = asyncio.create_task(self._expire_quietly(other.session_id))
                self._expiring.add(task)
                task.add_done_callback(self._expiring.discard)
        return opened

    async def _record(self, order: _Order, stripe_price: str, mode: Mode, created_at: int) -> Checkout:
        key = uuid.uuid4().hex
        return await self._ledger.write(
            lambda tx: tx.checkouts.add(
                idempotency_key=key,
                price_alias=order.price_alias,
                price_id=stripe_price,
                mode=mode,
                success_url=order.success_url,
                cancel_url=order.cancel_url,
                locale=order.locale,
                created_at=created_at,
            )
        )

    async def _finish(
        self, checkout: Checkout, *, new_customer: bool = True, new_key: bool = True
    ) -> Checkout:
        """Create the session of a recorded checkout, and make its id durable. `resume` and a buyer who tries
        again share the request: Stripe refuses a second one with the same idempotency key meanwhile.
        """
        return await self._finishing.run(
            checkout.local_id,
            lambda: self._create_session(checkout, new_customer=new_customer, new_key=new_key),
        )

    async def _create_session(self, checkout: Checkout, *, new_customer: bool, new_key: bool) -> Checkout:
        if abs(self._now() - checkout.created_at) > IDEMPOTENCY_KEY_TTL:
            # its URL was never returned to a caller, and the key no longer prevents a second session
            await self._mark(checkout, "expired")
            raise PaymentError("price_unavailable", price_id=checkout.price_alias)
        settings = self._settings()
        customer = await self._customers.ensure()
        started = time.monotonic()
        tried = bool(self._reconciler.state.subscriptions)
        try:
            session = await self._request_session(
                _parameters(
                    checkout, customer, self._reconciler.identity.router_id, settings, trial=not tried
                ),
                checkout.idempotency_key,
            )
        except PaymentError as error:
            if is_replayed(error) and new_key:
                # for a day this key would fail; no buyer has the URL of a session that it may have created
                await self._mark(checkout, "failed")
                again = await self._record(
                    _order_of(checkout), checkout.price_id, checkout.mode, checkout.created_at
                )
                return await self._finish(again, new_customer=new_customer, new_key=False)
            if is_transient(error) or error.code in ("stripe_key_invalid", "stripe_key_permission"):
                raise  # it stays recorded: the retry uses the same key
            await self._mark(checkout, "failed")
            param = str(error.details.get("param") or "")
            if (
                new_customer
                and param == "customer"
                and error.details.get("stripe_code") == "resource_missing"
            ):
                await self._customers.forget(customer)
                # the same order of another customer is another request, so it needs another key
                again = await self._record(
                    _order_of(checkout), checkout.price_id, checkout.mode, checkout.created_at
                )
                return await self._finish(again, new_customer=False)
            if param.startswith("line_items"):
                self._prices.invalidate(checkout.price_alias)
                raise PaymentError(
                    "price_unavailable", **{**error.details, "price_id": checkout.price_alias}
                ) from error
            raise
        session_id, url, expires_at = str(session["id"]), str(session["url"]), session.get("expires_at")
        updated: list[Checkout] = []

        def record(tx: Transaction) -> None:
            updated[:] = [
                tx.checkouts.update(
                    checkout.local_id, session_id=session_id, url=url, state="open", expires_at=expires_at
                )
            ]

        await self._reconciler.apply(units_of(session, started), "opened", along=record)
        _log.info("checkout opened", session=session_id, price=checkout.price_alias)
        self._poll_wakeup.set()
        return updated[0]

    async def _request_session(self, params: SessionCreateParams, key: str) -> dict[str, Any]:
        """Wait for a request with the same key that is still in progress at Stripe: of this daemon, before a
        crash.
        """
        backoff = Backoff(0.5, 4.0)
        while True:
            try:
                return await self._stripe.create("checkout.session", params, key)
            except PaymentError as error:
                in_progress = error.details.get("stripe_code") == "idempotency_key_in_use"
                if not in_progress or backoff.failures >= KEY_IN_USE_RETRIES:
                    raise
                await asyncio.sleep(backoff.next_delay())

    async def _mark(self, checkout: Checkout, state: Literal["expired", "failed"]) -> None:
        await self._ledger.write(lambda tx: tx.checkouts.update(checkout.local_id, state=state))

    async def _expire(self, session_id: str) -> bool:
        started = time.monotonic()
        try:
            session = await self._stripe.update(
                "checkout.session", session_id, {}, f"expire-{session_id}", action="expire"
            )
        except PaymentError as error:
            if error.code != "stripe_error" or is_transient(error):
                raise
            return False  # it is not open any more: paid, or expired
        _log.info("checkout expired", session=session_id)
        await self._reconciler.apply(units_of(session, started), "withdrawn")
        return True

    async def _expire_quietly(self, session_id: str) -> None:
        try:
            await self._expire(session_id)
        except PaymentError as error:
            # the poller withdraws it as soon as the other one has been paid
            _log.info("older checkout not expired", session=session_id, error=error.code)

    def _now(self) -> int:
        trusted = self._clock.now()
        return trusted if trusted is not None else int(time.time())


def _parameters(
    checkout: Checkout, customer: str, router_id: str, settings: Settings, *, trial: bool
) -> SessionCreateParams:
    """Built from the recorded checkout, so that a retry sends the same request. `trial`: whether this router
    may still have a free trial.
    """
    price = settings.price(checkout.price_alias)
    item = price.of if price is not None else ""
    sold = settings.sellable(item)
    metadata = {"router_id": router_id, "price_alias": checkout.price_alias, "item": item}
    params: SessionCreateParams = {
        "mode": checkout.mode,
        "customer": customer,
        "client_reference_id": router_id,
        "line_items": [{"price": checkout.price_id, "quantity": 1}],
        "success_url": checkout.success_url,
        "cancel_url": checkout.cancel_url,
        "locale": checkout.locale,
        "metadata": metadata,
    }
    title = sold.title_in(checkout.locale) if sold is not None else item
    # an invoice for a single payment would cost the seller extra, and the charge has a receipt
    if checkout.mode == "subscription":
        params["subscription_data"] = {"metadata": metadata, "description": title}
        if trial and price is not None and price.trial_days:
            params["subscription_data"]["trial_period_days"] = price.trial_days
            if not price.trial_requires_card:
                params["payment_method_collection"] = "if_required"
                params["subscription_data"]["trial_settings"] = {
                    "end_behavior": {"missing_payment_method": "cancel"}
                }
    else:
        params["payment_intent_data"] = {"metadata": metadata, "description": title}
    if settings.allow_promotion_codes:
        params["allow_promotion_codes"] = True
    if settings.automatic_tax:
        # the buyer's address decides the tax; Stripe saves it with our customer
        params["automatic_tax"] = {"enabled": True}
        params["customer_update"] = {"address": "auto", "name": "auto"}
    return params


def _without_session(tx: Transaction) -> list[Checkout]:
    return [checkout for checkout in tx.checkouts.open() if checkout.session_id is None]


def _order_of(checkout: Checkout) -> _Order:
    return _Order(checkout.price_alias, checkout.success_url, checkout.cancel_url, checkout.locale)


def _stripe_locale(locale: str) -> str:
    """Stripe's closest locale; `auto` lets Checkout follow the browser."""
    wanted = locale.replace("_", "-")
    if wanted in _LOCALES:
        return wanted
    language = wanted.split("-")[0].lower()
    return language if language in _LOCALES else "auto"
