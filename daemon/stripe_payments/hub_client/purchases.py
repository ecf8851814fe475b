"""Calls of the hub that buy and read: return URLs, idempotency keys, the checkouts that this router began.

A call that changes something has one Idempotency-Key, whatever becomes of its answers: repeated because an
answer was lost, and requested again by a person who saw an error, it is the same request, and nothing is
bought twice. The key is in the ledger before the hub is called, so that this holds across a power cut.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.return_urls import ReturnUrls, origin_of

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.hub_client.seller import Seller
    from stripe_payments.ledger import Checkout, CheckoutState, SQLiteLedger, SQLiteTransaction
    from stripe_payments.settings import Settings

__all__ = ["HubPayments", "Purchases"]

_log = Log("hub")

_CALL_S: Final = 22.0
"""Less than the 25 s that a call on the bus may take."""
_ATTEMPTS: Final = 3
_PAUSE_S: Final = 0.5
META_CALLS: Final = "hub_calls"
_KEY_KEPT_S: Final = 1800
"""A call that failed is the same one for so long if it is made again."""
_CHANGING: Final = frozenset(
    {"create_checkout_session", "change_plan", "cancel_subscription", "resume_subscription"}
)
_EXPIRES_S: Final = 90_000
"""Checkout pages of Stripe's end after a day."""
_CHECKOUT_HOSTS: Final = ("https://checkout.stripe.com",)
_PORTAL_HOSTS: Final = ("https://billing.stripe.com",)
_COMPLETE: Final = frozenset(
    {"paid", "no_payment_required", "refunded", "partially_refunded", "disputed", "pending"}
)


class HubPayments:
    """`call` runs a method at the hub."""

    def __init__(self, ledger: SQLiteLedger, seller: Seller, clock: TrustedClock) -> None:
        self._ledger = ledger
        self._seller = seller
        self._clock = clock

    async def call(
        self,
        method: str,
        arguments: Mapping[str, object],
        locale: str,
        record: Callable[[SQLiteTransaction, Mapping[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """The reply of the method of that name; `record` stores what it says, for a method that changes
        something, in the transaction that ends the call. Raises PaymentError: the hub's,
        ``seller_unreachable``, ``not_enrolled``, ``ledger_unavailable``.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        changing = method in _CHANGING
        call = hashlib.sha256(json.dumps([method, given], sort_keys=True).encode()).hexdigest()
        headers = {"Accept-Language": locale}
        if changing:
            headers["Idempotency-Key"] = await self._begin(call)

        async def end(reply: Mapping[str, Any] | None) -> None:
            if changing:
                await self._end(call, record, reply)

        deadline = time.monotonic() + _CALL_S
        for attempt in range(1, _ATTEMPTS + 1):
            left = deadline - time.monotonic()
            try:
                answer = await self._seller.request(
                    "POST", f"/v1/methods/{method}", given, headers=headers, timeout=left
                )
            except PaymentError as error:
                if error.http_status < 500:
                    await end(None)
                if error.details.get("fault") != "connection" or attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(_PAUSE_S)
                continue
            await end(answer.body)
            return dict(answer.body)
        raise AssertionError("unreachable")

    async def _begin(self, call: str) -> str:
        """The durable key of a call: that of one that has not ended, if it is not too old."""
        now = self._clock.now()

        def run(tx: SQLiteTransaction) -> str:
            before = _calls(tx)
            # without a trusted time nothing is too old, and what began then began now
            dated = {one: (key, now if began is None else began) for one, (key, began) in before.items()}
            held = {
                one: (key, began)
                for one, (key, began) in dated.items()
                if now is None or began is None or abs(now - began) < _KEY_KEPT_S
            }
            key, _began = held.setdefault(call, (uuid.uuid4().hex, now))
            if held != before:
                tx.meta.set(META_CALLS, json.dumps(held))
            return key

        return await self._ledger.write(run)

    async def _end(
        self,
        call: str,
        record: Callable[[SQLiteTransaction, Mapping[str, Any]], None] | None,
        reply: Mapping[str, Any] | None,
    ) -> None:
        """Forget the key of a call that has its answer; `reply`: None for an error."""

        def run(tx: SQLiteTransaction) -> None:
            held = _calls(tx)
            held.pop(call, None)
            tx.meta.set(META_CALLS, json.dumps(held))
            if record is not None and reply is not None:
                record(tx, reply)

        await self._ledger.write(run)


def _calls(tx: SQLiteTransaction) -> dict[str, tuple[str, int | None]]:
    """By call: its key and when it began (trusted epoch seconds; None: without a trusted time)."""
    return {call: (key, began) for call, (key, began) in json.loads(tx.meta.get(META_CALLS) or "{}").items()}


class Purchases:
    """`create` begins a purchase, `show` says what became of it; `run` follows those that are open.

    `stripe_address`: of a simulated Stripe, whose pages are accepted too (tests); None: only Stripe's own.
    """

    def __init__(
        self,
        ledger: SQLiteLedger,
        seller: Seller,
        hub: HubPayments,
        return_urls: ReturnUrls,
        clock: TrustedClock,
        settings: Callable[[], Settings],
        stripe_address: str | None,
    ) -> None:
        self._ledger = ledger
        self._seller = seller
        self._hub = hub
        self._return_urls = return_urls
        self._clock = clock
        self._settings = settings
        self._test_hosts = (origin_of(stripe_address),) if stripe_address else ()

    async def create(
        self,
        price_id: str,
        *,
        success_url: str | None,
        cancel_url: str | None,
        locale: str | None,
        origin: str | None,
    ) -> dict[str, str]:
        """Return {session_id, checkout_url}; arguments and errors as of `billing.CheckoutService.create`."""
        if not self._settings().enabled:
            raise PaymentError("disabled")
        success, cancel = await self._return_urls.for_checkout(success_url, cancel_url, origin)
        order = {"price_id": price_id, "success_url": success, "cancel_url": cancel, "locale": locale}
        self._seller.watch()
        price = self._settings().price(price_id)
        alias = price.alias if price is not None else price_id
        mode = "payment" if price is not None and price.interval is None else "subscription"
        now = self._clock.now() or self._clock.floor or 0

        def record(tx: SQLiteTransaction, reply: Mapping[str, Any]) -> None:
            session_id, url = str(reply.get("session_id")), str(reply.get("checkout_url"))
            if self._is_accepted(url, _CHECKOUT_HOSTS) and tx.checkouts.by_session(session_id) is None:
                begun = tx.checkouts.add(
                    uuid.uuid4().hex,
                    alias,
                    price_id,
                    mode,  # type: ignore[arg-type]
                    success,
                    cancel,
                    locale or "",
                    now,
                )
                tx.checkouts.update(begun.local_id, session_id=session_id, url=url, state="open")

        reply = await self._hub.call("create_checkout_session", order, locale or "en", record)
        url = str(reply.get("checkout_url"))
        self._accept(url, _CHECKOUT_HOSTS)
        self._seller.watch()
        session_id = str(reply.get("session_id"))
        _log.info("checkout opened", session=session_id, price=alias)
        return {"session_id": session_id, "checkout_url": url}

    async def portal(self, return_url: str | None, locale: str) -> dict[str, str]:
        """Return {url} of Stripe's customer portal."""
        back = await self._return_urls.for_portal(return_url)
        reply = await self._hub.call("portal", {"return_url": back}, locale)
        url = str(reply.get("url"))
        self._accept(url, _PORTAL_HOSTS)
        return {"url": url}

    async def show(self, payment_id: str, locale: str | None = None) -> dict[str, Any]:
        """Return what `billing.PaymentStatusService.show` does."""
        reply = await self._hub.call("payment_status", {"payment_id": payment_id}, locale or "en")
        checkout = await self._ledger.read(lambda tx: tx.checkouts.by_session(payment_id))
        if checkout is not None and checkout.state == "open":
            await self._follow(checkout, reply)
        return reply

    async def run(self) -> None:
        """Until cancelled: look after open checkouts whenever the hub has something new."""
        while True:
            await self._seller.refreshed.wait()
            self._seller.refreshed.clear()
            await self._follow_open()

    async def _follow_open(self) -> None:
        now = self._clock.now()
        for checkout in await self._ledger.read(lambda tx: tx.checkouts.open()):
            if now is not None and now - checkout.created_at > _EXPIRES_S:
                await self._ended(checkout, "expired")
            elif checkout.session_id is not None:
                with suppress(PaymentError):
                    await self.show(checkout.session_id)
        if not await self._ledger.read(lambda tx: tx.checkouts.open()):
            self._seller.unwatch()

    async def _follow(self, checkout: Checkout, payment: Mapping[str, Any]) -> None:
        status = payment.get("status")
        if status in _COMPLETE:
            await self._ended(checkout, "complete")
        elif status == "expired":
            await self._ended(checkout, "expired")
        else:
            return
        self._seller.poll_soon()

    async def _ended(self, checkout: Checkout, state: CheckoutState) -> None:
        await self._ledger.write(lambda tx: tx.checkouts.update(checkout.local_id, state=state))

    def _accept(self, url: str, hosts: tuple[str, ...]) -> None:
        """Raises PaymentError ``foreign_page`` for an address that is not Stripe's: an attacker who holds
        the hub's name must not get a buyer's card.
        """
        if not self._is_accepted(url, hosts):
            _log.error("the hub sent a foreign page", host=urlsplit(url).hostname)
            raise PaymentError("foreign_page")

    def _is_accepted(self, url: str, hosts: tuple[str, ...]) -> bool:
        return origin_of(url) in {*hosts, *self._test_hosts}
