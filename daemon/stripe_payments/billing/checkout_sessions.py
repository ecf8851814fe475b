"""Create Checkout sessions: nothing is bought twice, no payment is lost.

Two things are durable before the buyer is sent to Stripe: the idempotency key, before the request (after a
crash, the same request is repeated and returns the same session), and the session's id, before its URL is
returned. The key ends with a digest of the terms (price, trial, tax, options …): a session is used again only
on the terms that apply now.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from stripe_payments.backoff import Backoff
from stripe_payments.billing.customer import CustomerService
from stripe_payments.billing.eligibility import already_owned, read_ownership
from stripe_payments.billing.prices import PriceIds
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.log import Log
from stripe_payments.return_urls import ReturnUrls
from stripe_payments.settings import Price, SellerContact, Settings
from stripe_payments.shared_tasks import SharedTasks
from stripe_payments.stripe_api import IDEMPOTENCY_KEY_TTL, StripeAPI, is_missing, is_replayed, is_transient
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

_OPTIONS: Final = {
    "automatic_tax": "automatic_tax",
    "consent_collection": "terms_of_service",
    "invoice_creation": "invoice_creation",
    "tax_id_collection": "tax_id_collection",
}
"""The parameters of a session that come from an option of the settings, with its name."""

_STRIPES_LOCALES: Final = (
    "auto bg cs da de el en en-GB es es-419 et fi fil fr fr-CA hi-IN hr hu id it ja ko lt lv ms mt nb nl "
    "pl pt pt-BR ro ru sk sl sv th tr vi zh zh-HK zh-TW"
)
"""stripe.params.checkout.SessionCreateParams.locale"""
_LOCALES: Final = frozenset(_STRIPES_LOCALES.split())


_PINNED: Final = "combine currencies"
"""In Stripe's refusal of a plan in another currency than the customer has; it has no code of its own."""
_OTHER_CURRENCY: Final = _(
    "its customer at Stripe still has a subscription, discount or quote in another currency"
)


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
        self._one_at_a_time = asyncio.Lock()
        self._expiring: dict[str, asyncio.Task[bool]] = {}
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
        price_unavailable, option_refused, already_owned, invalid_argument, foreign_return_url, and Stripe's
        errors.
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
        if (expiring := self._expiring.get(checkout.session_id)) is not None:
            return await asyncio.shield(expiring)
        return await self._expire(checkout.session_id)

    async def keys_changed(self) -> None:
        """The new keys may belong to another account or mode: prices and sessions of the old ones are not
        used any more.
        """
        self._prices.invalidate()
        latest = await self._ledger.read(lambda tx: tx.checkouts.latest(1))
        self._last_under_other_keys = latest[0].local_id if latest else 0

    async def expired(self) -> None:
        """Wait until the sessions that `create` withdraws in the background are expired, or cannot be."""
        await asyncio.gather(*self._expiring.values(), return_exceptions=True)

    async def close(self) -> None:
        await self._opening.close()
        await self._finishing.close()
        tasks = list(self._expiring.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _open(self, order: _Order, price: Price) -> Checkout:
        async with self._one_at_a_time:
            opened = await self._held_or_new(order, price)
            for other in await self._ledger.read(lambda tx: tx.checkouts.open()):
                if other.local_id != opened.local_id and self._compete(other, opened):
                    # of the two only one may be paid: two plans, or one price with two return URLs (QR code)
                    self._expire_in_background(other.session_id)
        return opened

    async def _held_or_new(self, order: _Order, price: Price) -> Checkout:
        stripe_price = await self._prices.id_of(price)
        customer = await self._customers.ensure()
        trial = await self._may_try(price, customer)
        mode: Mode = "payment" if price.interval is None else "subscription"
        currency = await self._prices.named_currency(price)
        terms = _digest(self._parameters(order, stripe_price, mode, trial=trial, currency=currency))
        now = self._now()
        for held in await self._ledger.read(lambda tx: tx.checkouts.open()):
            if held.local_id <= self._last_under_other_keys or _terms_of(held) != terms:
                continue  # it would be paid to another account, or on other terms than apply now
            if held.session_id in self._expiring or abs(now - held.created_at) >= REUSED_FOR:
                continue
            return held if held.session_id else await self._finish(held, trial=trial)
        return await self._finish(await self._record(order, stripe_price, mode, now, terms), trial=trial)

    def _compete(self, one: Checkout, other: Checkout) -> bool:
        """Whether the buyer would pay twice if both were paid."""
        if one.mode == other.mode == "subscription":
            return True
        prices = [self._settings().price(checkout.price_alias) for checkout in (one, other)]
        sold = {price.of for price in prices if price is not None}
        return one.price_alias == other.price_alias or (one.mode == other.mode and len(sold) == 1)

    async def _may_try(self, price: Price, customer: str) -> bool:
        """Whether this router has never had a subscription. The ledger may not know of one yet: it may just
        be filling again from Stripe.
        """
        if not price.trial_days or self._reconciler.state.subscriptions:
            return False
        wanted = {"customer": customer, "status": "all", "limit": 1, "expand": []}
        try:
            return not (await self._stripe.list("subscription", wanted)).data
        except PaymentError as error:
            if not is_missing(error):
                raise
            return False  # the customer was deleted, and it is not known what it had

    async def _record(
        self, order: _Order, stripe_price: str, mode: Mode, created_at: int, terms: str
    ) -> Checkout:
        key = f"{uuid.uuid4().hex}-{terms}"
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

    async def _record_again(self, checkout: Checkout, terms: str = "") -> Checkout:
        """The same order under another key; the session of the former one is never shown to a buyer."""
        await self._mark(checkout, "failed")
        return await self._record(
            _order_of(checkout),
            checkout.price_id,
            checkout.mode,
            checkout.created_at,
            terms or _terms_of(checkout),
        )

    async def _finish(
        self,
        checkout: Checkout,
        *,
        trial: bool | None = None,
        new_customer: bool = True,
        new_key: bool = True,
    ) -> Checkout:
        """Create the session of a recorded checkout, and make its id durable. `resume` and a buyer who tries
        again share the request: Stripe refuses a second one with the same idempotency key meanwhile. `trial`:
        as `_may_try`, None if that is to be found out.
        """
        return await self._finishing.run(
            checkout.local_id,
            lambda: self._create_session(checkout, trial, new_customer=new_customer, new_key=new_key),
        )

    async def _create_session(
        self, checkout: Checkout, trial: bool | None, *, new_customer: bool, new_key: bool
    ) -> Checkout:
        if abs(self._now() - checkout.created_at) > IDEMPOTENCY_KEY_TTL:
            # its URL was never returned to a caller, and the key no longer prevents a second session
            await self._mark(checkout, "expired")
            raise PaymentError("price_unavailable", price_id=checkout.price_alias)
        customer = await self._customers.ensure()
        price = self._settings().price(checkout.price_alias)
        if trial is None:
            trial = price is not None and await self._may_try(price, customer)
        try:
            currency = await self._prices.named_currency(price) if price is not None else None
        except PaymentError as error:
            if error.code == "price_unavailable":  # not sold any more
                await self._mark(checkout, "failed")
            raise
        params = self._parameters(
            _order_of(checkout), checkout.price_id, checkout.mode, trial=trial, currency=currency
        )
        if (terms := _digest(params)) != _terms_of(checkout):
            # the settings changed since it was recorded: a key is good for one request only
            return await self._finish(await self._record_again(checkout, terms), trial=trial)
        started = time.monotonic()
        try:
            session = await self._request_session({**params, "customer": customer}, checkout.idempotency_key)
        except PaymentError as error:
            if is_replayed(error) and new_key:
                # for a day this key would fail; no buyer has the URL of a session that it may have created
                again = await self._record_again(checkout)
                return await self._finish(again, trial=trial, new_customer=new_customer, new_key=False)
            if is_transient(error) or error.code in ("stripe_key_invalid", "stripe_key_permission"):
                raise  # it stays recorded: the retry uses the same key
            param = str(error.details.get("param") or "")
            if (
                new_customer
                and param == "customer"
                and error.details.get("stripe_code") == "resource_missing"
            ):
                await self._customers.forget(customer)
                # the same order of another customer is another request, so it needs another key
                again = await self._record_again(checkout)
                return await self._finish(again, trial=trial, new_customer=False)
            await self._mark(checkout, "failed")
            if _PINNED in str(error.details.get("reason")):
                sold = self._settings().sellable(price.of) if price is not None else None
                item = sold.titles if sold is not None else checkout.price_alias
                raise PaymentError("already_owned", item=item, reason=_OTHER_CURRENCY) from error
            if (option := _OPTIONS.get(param.partition("[")[0])) is not None:
                raise PaymentError("option_refused", **{**error.details, "option": option}) from error
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

    def _parameters(
        self, order: _Order, stripe_price: str, mode: Mode, *, trial: bool, currency: str | None
    ) -> SessionCreateParams:
        """The request but for the customer. `trial`: whether this router may still have a free trial;
        `currency`: see `PriceIds.named_currency`.
        """
        settings = self._settings()
        price = settings.price(order.price_alias)
        item = price.of if price is not None else ""
        sold = settings.sellable(item)
        router_id = self._reconciler.identity.router_id
        metadata = {"router_id": router_id, "price_alias": order.price_alias, "item": item}
        params: SessionCreateParams = {
            "mode": mode,
            "client_reference_id": router_id,
            "line_items": [{"price": stripe_price, "quantity": 1}],
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
            "locale": order.locale,
            "metadata": metadata,
        }
        if currency is not None:
            params["currency"] = currency
        title = sold.title_in(order.locale) if sold is not None else item
        if settings.seller:
            title = f"{title} ({settings.seller})"  # receipts and invoices show it
        if mode == "subscription":
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
            if settings.invoice_creation:
                # costs the seller extra; without it, the charge has a receipt
                params["invoice_creation"] = {"enabled": True, "invoice_data": {"metadata": metadata}}
        if settings.allow_promotion_codes:
            params["allow_promotion_codes"] = True
        if settings.automatic_tax:
            # the buyer's address decides the tax; Stripe saves it with our customer
            params["automatic_tax"] = {"enabled": True}
        if settings.tax_id_collection:
            params["tax_id_collection"] = {"enabled": True}
        if settings.automatic_tax or settings.tax_id_collection:
            # with a customer that exists already, Stripe requires both
            params["customer_update"] = {"address": "auto", "name": "auto"}
        if message := _imprint(settings.contact, order.locale):
            params["custom_text"] = {"submit": {"message": message}}
        if settings.terms_of_service:
            params["consent_collection"] = {"terms_of_service": "required"}
        return params

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

    def _expire_in_background(self, session_id: str | None) -> None:
        if session_id is None or session_id in self._expiring:
            return

        def done(task: asyncio.Task[bool]) -> None:
            self._expiring.pop(session_id, None)
            if not task.cancelled() and isinstance(error := task.exception(), PaymentError):
                # the poller withdraws it as soon as the other one has been paid
                _log.info("older checkout not expired", session=session_id, error=error.code)

        self._expiring[session_id] = task = asyncio.create_task(self._expire(session_id))
        task.add_done_callback(done)

    def _now(self) -> int:
        trusted = self._clock.now()
        return trusted if trusted is not None else int(time.time())


def _imprint(seller: SellerContact, locale: str) -> str:
    """Who sells, and the seller's pages, as the Markdown that Stripe's payment page shows at its button."""
    links = (
        (_("Support"), seller.support_url),
        (_("Terms of service"), seller.terms_url),
        (_("Privacy policy"), seller.privacy_url),
    )
    found = [f"[{label.in_locale(locale)}]({url})" for label, url in links if url]
    if seller.name:
        found.insert(0, _("Sold by {name}.", name=seller.name).in_locale(locale))
    return " ".join(found)


def _digest(params: SessionCreateParams) -> str:
    """What distinguishes one session's terms from another's: the request without the customer."""
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:32]


def _terms_of(checkout: Checkout) -> str:
    return checkout.idempotency_key.rpartition("-")[2]


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
