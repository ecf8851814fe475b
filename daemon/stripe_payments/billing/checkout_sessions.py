"""Opening a Checkout session, so that nothing is bought twice and nothing paid is forgotten.

Two things are durable before the buyer is sent away: the idempotency key, before Stripe is asked (a crash in
between repeats the same request and gets the same session), and the session's id, before its address is told
to anybody.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from stripe_payments.backoff import Backoff
from stripe_payments.billing.customer import CustomerService
from stripe_payments.billing.eligibility import read_ownership, refusal
from stripe_payments.billing.prices import PriceDesk
from stripe_payments.billing.return_urls import LanAddress, origin_of, resolve, with_session_id
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.settings import Price, Settings
from stripe_payments.stripe_api import StripeAPI, is_transient
from stripe_payments.sync.fetch import units_of

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.identity import IdentityStore
    from stripe_payments.ledger import Checkout, Ledger, Transaction
    from stripe_payments.stripe_api.parameters import SessionCreateParams
    from stripe_payments.sync.reconciler import Reconciler

_log = Log("checkout")

SUCCESS_PATH: Final = "/payment-success"
CANCEL_PATH: Final = "/payment-cancel"

REUSED_FOR: Final = 1800
"""Seconds in which the same order leads to the same session: a double click, a retry, a second tab."""

KEYS_LAST: Final = 23 * 3600
"""Seconds. Stripe forgets an idempotency key after 24 hours at the earliest."""

# Stripe's own list: stripe.params.checkout.SessionCreateParams.locale
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


@dataclass(frozen=True, slots=True)
class _Order:
    """What makes two requests the same request."""

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
        identity: IdentityStore,
        clock: TrustedClock,
        lan: LanAddress,
        poll_wakeup: asyncio.Event,
    ) -> None:
        self._ledger = ledger
        self._stripe = stripe
        self._reconciler = reconciler
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._lan = lan
        self.customers = CustomerService(stripe, identity)
        self.prices = PriceDesk(stripe, settings)
        self._poll_wakeup = poll_wakeup
        self._opening: dict[_Order, asyncio.Task[Checkout]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._last_under_other_keys = 0

    async def create(
        self,
        price_id: str,
        success_url: str | None = None,
        cancel_url: str | None = None,
        locale: str | None = None,
        origin: str | None = None,
    ) -> dict[str, str]:
        """`{session_id, checkout_url}` for a price of the catalogue (its alias or Stripe's id).

        `origin` is the request's own where it came over HTTP (then the origin rule holds), None over ubus. An
        address that is not given is `/payment-success` or `/payment-cancel`; a relative one belongs to
        public_url, else to `origin`, else to phone_return_url, else to the router's name in the LAN.
        Raises disabled, not_configured, unknown_price, price_unavailable, already_owned, invalid_argument,
        foreign_return_url, and what Stripe may answer.
        """
        settings = self._settings()
        if not settings.enabled:
            raise PaymentError("disabled")
        if not price_id:
            raise PaymentError("invalid_argument", argument="price_id")
        price = settings.price(price_id)
        if price is None:
            raise PaymentError("unknown_price", price_id=price_id)
        order = await self._order(settings, price, success_url, cancel_url, locale, origin)
        if self._stripe.state.status == "unconfigured":
            raise PaymentError("not_configured")
        holdings = await self._ledger.read(read_ownership)
        if (refused := refusal(price, holdings, settings)) is not None:
            raise refused
        checkout = await self._open_once(order, price)
        return {"session_id": checkout.session_id or "", "checkout_url": checkout.url or ""}

    async def resume(self) -> None:
        """At boot: finish what a crash interrupted, for as long as that takes. Returns when nothing is left
        over.
        """
        backoff = Backoff(2.0, 300.0)
        while leftover := await self._ledger.read(_creating):
            for checkout in leftover:
                try:
                    await self._finish(checkout)
                except PaymentError as error:
                    _log.info("a checkout cannot be resumed yet", error=error.code)
            if await self._ledger.read(_creating):
                await asyncio.sleep(backoff.next_delay())

    async def withdraw(self, checkout: Checkout) -> bool:
        """Expire an open session whose purchase would now be paying twice; gives whether Stripe was asked
        to.
        """
        settings = self._settings()
        price = settings.price(checkout.price_alias)
        if price is None or checkout.session_id is None:
            return False
        holdings = await self._ledger.read(read_ownership)
        if refusal(price, holdings, settings) is None:
            return False
        return await self._expire(checkout.session_id)

    async def keys_changed(self) -> None:
        """The keys may be of another account or mode: what was found or opened with the old ones is not
        offered any more.
        """
        self.prices.forget()
        latest = await self._ledger.read(lambda tx: tx.checkouts.latest(1))
        self._last_under_other_keys = latest[0].local_id if latest else 0

    async def close(self) -> None:
        tasks = [*self._opening.values(), *self._background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the order --------------------------------------------------------------------------------

    async def _order(
        self,
        settings: Settings,
        price: Price,
        success_url: str | None,
        cancel_url: str | None,
        locale: str | None,
        origin: str | None,
    ) -> _Order:
        base = settings.public_url or origin or settings.phone_return_url or await self._lan.origin()
        allowed: list[str] | None = None
        if origin is not None:
            known = (origin, settings.public_url, settings.phone_return_url, *settings.allowed_origins)
            allowed = [address for address in known if address is not None and origin_of(address)]
        return _Order(
            price.alias,
            with_session_id(
                resolve(
                    success_url or SUCCESS_PATH, base=base, allowed_origins=allowed, argument="success_url"
                )
            ),
            resolve(cancel_url or CANCEL_PATH, base=base, allowed_origins=allowed, argument="cancel_url"),
            _stripe_locale(locale or settings.locale),
        )

    # -- opening ----------------------------------------------------------------------------------

    async def _open_once(self, order: _Order, price: Price) -> Checkout:
        """One session for one order, however many ask for it at the same time or shortly after each other."""
        task = self._opening.get(order)
        if task is None:
            task = asyncio.create_task(self._open(order, price))
            self._opening[order] = task
            task.add_done_callback(lambda done: self._done(order, done))
        # a caller that goes away must not interrupt what may already be under way at Stripe
        return await asyncio.shield(task)

    def _done(self, order: _Order, task: asyncio.Task[Checkout]) -> None:
        self._opening.pop(order, None)
        if not task.cancelled():
            task.exception()  # taken note of, should every caller have gone away

    async def _open(self, order: _Order, price: Price) -> Checkout:
        now = self._now()
        others = [
            held for held in await self._ledger.read(_open_or_creating) if held.price_alias == price.alias
        ]
        for held in others:
            if held.local_id <= self._last_under_other_keys:
                continue
            if _order_of(held) == order and abs(now - held.created_at) < REUSED_FOR:
                return held if held.session_id else await self._finish(held)
        stripe_price = await self.prices.id_of(price)
        checkout = await self._record(order, price, stripe_price)
        opened = await self._finish(checkout)
        for held in others:
            if held.session_id is not None:
                # same thing, other way back (the QR code after the button): only one of them may be paid
                self._in_background(self._expire_quietly(held.session_id))
        return opened

    async def _record(self, order: _Order, price: Price, stripe_price: str) -> Checkout:
        await self.customers.ensure()
        mode: Literal["payment", "subscription"] = "payment" if price.interval is None else "subscription"
        return await self._note(order, stripe_price, mode, self._now())

    async def _note(
        self, order: _Order, stripe_price: str, mode: Literal["payment", "subscription"], created_at: int
    ) -> Checkout:
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

    async def _finish(self, checkout: Checkout, *, new_customer: bool = True) -> Checkout:
        """Ask Stripe for the session of a recorded checkout, and make its id durable."""
        if abs(self._now() - checkout.created_at) > KEYS_LAST:
            # nobody can hold an address that was never told, and the key no longer protects against a second
            # session
            await self._mark(checkout, "expired")
            raise PaymentError("price_unavailable", price_id=checkout.price_alias)
        customer = await self.customers.ensure()
        started = time.monotonic()
        tried = await self._ledger.read(lambda tx: tx.subscriptions.any())
        try:
            session = await self._stripe.create(
                "checkout.session",
                self._parameters(checkout, customer, trial=not tried),
                checkout.idempotency_key,
            )
        except PaymentError as error:
            if is_transient(error) or error.code in ("stripe_key_invalid", "stripe_key_permission"):
                raise  # stays recorded: the same key is used again
            await self._mark(checkout, "failed")
            param = str(error.details.get("param") or "")
            if (
                new_customer
                and param == "customer"
                and error.details.get("stripe_code") == "resource_missing"
            ):
                await self.customers.forget(customer)
                # the same order for another customer is another request, so it needs another key
                again = await self._note(
                    _order_of(checkout), checkout.price_id, checkout.mode, checkout.created_at
                )
                return await self._finish(again, new_customer=False)
            if param.startswith("line_items"):
                self.prices.forget(checkout.price_alias)
                raise PaymentError(
                    "price_unavailable", **{**error.details, "price_id": checkout.price_alias}
                ) from error
            raise
        session_id, url, expires_at = str(session["id"]), str(session["url"]), session.get("expires_at")
        noted: list[Checkout] = []

        def note(tx: Transaction) -> None:
            noted[:] = [
                tx.checkouts.update(
                    checkout.local_id, session_id=session_id, url=url, state="open", expires_at=expires_at
                )
            ]

        await self._reconciler.apply(units_of(session, started), "opened", along=note)
        self._compare(checkout, session)
        _log.info("checkout opened", session=session_id, price=checkout.price_alias)
        self._poll_wakeup.set()
        return noted[0]

    def _parameters(self, checkout: Checkout, customer: str, *, trial: bool) -> SessionCreateParams:
        """Built from what is recorded, so that a repeated request is the same request. `trial`: whether this
        router may still try a plan for free.
        """
        settings = self._settings()
        router_id = self._identity.load().router_id
        price = settings.price(checkout.price_alias)
        item = price.of if price is not None else ""
        sold = settings.sellable(item)
        marks = {"router_id": router_id, "price_alias": checkout.price_alias, "item": item}
        params: SessionCreateParams = {
            "mode": checkout.mode,
            "customer": customer,
            "client_reference_id": router_id,
            "line_items": [{"price": checkout.price_id, "quantity": 1}],
            "success_url": checkout.success_url,
            "cancel_url": checkout.cancel_url,
            "locale": checkout.locale,
            "metadata": marks,
        }
        title = sold.title_in(checkout.locale) if sold is not None else item
        # an invoice for a single payment would cost the seller extra; the charge has a receipt of Stripe's
        # anyway
        if checkout.mode == "subscription":
            params["subscription_data"] = {"metadata": marks, "description": title}
            if trial and price is not None and price.trial_days:
                params["subscription_data"]["trial_period_days"] = price.trial_days
                if not price.trial_requires_card:
                    params["payment_method_collection"] = "if_required"
                    params["subscription_data"]["trial_settings"] = {
                        "end_behavior": {"missing_payment_method": "cancel"}
                    }
        else:
            params["payment_intent_data"] = {"metadata": marks, "description": title}
        if settings.allow_promotion_codes:
            params["allow_promotion_codes"] = True
        if settings.automatic_tax:
            # where the buyer lives decides the tax; Stripe keeps what they enter with our customer
            params["automatic_tax"] = {"enabled": True}
            params["customer_update"] = {"address": "auto", "name": "auto"}
        return params

    def _compare(self, checkout: Checkout, session: dict[str, Any]) -> None:
        price = self._settings().price(checkout.price_alias)
        charged = (session.get("amount_subtotal"), session.get("currency"))
        if price is not None and charged[0] is not None and charged != (price.amount, price.currency):
            # Checkout shows the buyer what Stripe charges; the shop shows what the configuration says
            _log.warning(
                "the price at Stripe differs from the configuration",
                price=price.alias,
                configured=f"{price.amount} {price.currency}",
                at_stripe=f"{charged[0]} {charged[1]}",
            )

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
            return False  # it is not open any more: being paid, or over
        _log.info("checkout withdrawn", session=session_id)
        await self._reconciler.apply(units_of(session, started), "withdrawn")
        return True

    async def _expire_quietly(self, session_id: str) -> None:
        try:
            await self._expire(session_id)
        except PaymentError as error:
            # the poller withdraws it as soon as the other one has been paid
            _log.info("an older checkout could not be withdrawn", session=session_id, error=error.code)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _now(self) -> int:
        trusted = self._clock.now()
        return trusted if trusted is not None else int(time.time())


def _creating(tx: Transaction) -> list[Checkout]:
    return [held for held in tx.checkouts.open() if held.session_id is None]


def _open_or_creating(tx: Transaction) -> list[Checkout]:
    return tx.checkouts.open()


def _order_of(checkout: Checkout) -> _Order:
    return _Order(checkout.price_alias, checkout.success_url, checkout.cancel_url, checkout.locale)


def _stripe_locale(locale: str) -> str:
    """Stripe's name of the language that comes nearest; `auto` lets Checkout follow the browser."""
    wanted = locale.replace("_", "-")
    if wanted in _LOCALES:
        return wanted
    language = wanted.split("-")[0].lower()
    return language if language in _LOCALES else "auto"
