"""The bus methods in hub mode, with the names, arguments, replies and errors of `stripe_payments.bus_api`.

A method that is not here does not exist in hub mode: the seller's methods are the hub's.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from stripe_payments import __version__
from stripe_payments.errors import PaymentError
from stripe_payments.rfc3339 import format_time, parse_time
from stripe_payments.unfinished_purchases import open_purchases

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.hub_client.purchases import HubPayments, Purchases
    from stripe_payments.hub_client.seller import Seller
    from stripe_payments.ledger import Checkout, SQLiteLedger, SQLiteTransaction
    from ubus_py import Encodable

__all__ = ["SellerMethods"]

Reply = Mapping[str, Any]

_SHOWN: Final = 20


class Call(Protocol):
    """What a method needs of `bus_method.BusCall`."""

    @property
    def locale(self) -> str: ...
    @property
    def requested_locale(self) -> str | None: ...


class SellerMethods:
    def __init__(
        self,
        ledger: SQLiteLedger,
        seller: Seller,
        hub: HubPayments,
        purchases: Purchases,
        clock: TrustedClock,
    ) -> None:
        self._ledger = ledger
        self._seller = seller
        self._hub = hub
        self._purchases = purchases
        self._clock = clock

    def table(self) -> Mapping[str, Callable[..., Awaitable[Mapping[str, Encodable]]]]:
        """The methods by name."""
        names = [name for name in vars(type(self)) if not name.startswith("_") and name != "table"]
        return {name: getattr(self, name) for name in names}

    async def status(self, call: Call) -> Reply:
        settings, seller, now = self._seller.settings(), self._seller, self._clock.now()

        def pending(tx: SQLiteTransaction) -> tuple[dict[str, int], list[Checkout]]:
            checkouts = tx.checkouts.open()
            return {
                "checkouts": len(checkouts),
                "events": 0,
                "effects": tx.outbox.pending_count(),
            }, checkouts

        counts, checkouts = await self._ledger.read(pending)
        features = zlib.crc32(repr(sorted(seller.entitlements.items())).encode())
        problem = seller.problem
        return {
            "version": __version__,
            "mode": seller.state.mode,
            "enabled": settings.enabled,
            "managed": True,
            "seller": {
                "url": settings.hub,
                "name": seller.state.seller,
                "enrolled": seller.router_id is not None,
                "last_contact": _time(seller.last_contact),
                "problem": problem.body(call.locale)["error"] if problem is not None else None,
            },
            "phone_return_url": settings.phone_return_url or settings.public_url,
            "contact": {**dataclasses.asdict(settings.contact), "name": seller.state.seller or ""},
            "router_id": seller.router_id,
            "customer": None,
            "stripe": seller.reachability,
            "stripe_since": _time(seller.problem_since if problem is not None else seller.last_contact),
            "stripe_detail": problem.message_in(call.locale) if problem is not None else None,
            "last_sync": _time(seller.last_contact),
            "clock": "trusted" if now is not None else "untrusted",
            "now": _time(now),
            "webhook": "unconfigured",
            "webhook_url": None,
            "webhook_last_delivery": None,
            "keys": {"secret_key": None, "publishable_key": None, "webhook_secret": None},
            "pending": counts,
            "purchases": seller.state.processing_purchases + open_purchases(checkouts, now),
            "revision": f"{seller.state.etag}-{features:08x}",
        }

    async def catalog(self, call: Call) -> Reply:
        nothing: Reply = {"plans": [], "products": [], "features": {}, "tax_behavior": None}
        found: Reply = self._seller.state.shown(call.locale).get("catalog") or nothing
        return found

    async def features(self, _call: Call) -> Reply:
        return {
            "features": {
                name: {
                    "unlocked": held.unlocked,
                    "source": held.source,
                    "plan": held.plan,
                    "until": _time(held.until),
                    "reason": held.reason,
                    "disputed": held.unlocked and name in self._seller.state.disputed,
                }
                for name, held in self._seller.entitlements.items()
            }
        }

    async def has(self, _call: Call, *, feature: str) -> Reply:
        held = self._seller.entitlements.get(feature)
        if held is None and feature not in self._seller.settings().features:
            raise PaymentError("unknown_feature", feature=feature)
        return {"unlocked": held is not None and held.unlocked}

    async def subscriptions(self, call: Call, *, preview: bool = False) -> Reply:
        return {"subscriptions": self._seller.state.shown(call.locale).get("subscriptions", [])}

    async def transactions(self, call: Call, *, limit: int | None = None, before: str | None = None) -> Reply:
        shown = self._seller.state.shown(call.locale)
        rows: list[Reply] = shown.get("transactions", [])
        wanted = _SHOWN if limit is None else limit
        if before is None and (wanted <= len(rows) or shown.get("next") is None):
            return {"transactions": rows[:wanted], "next": _next(rows, wanted, shown.get("next"))}
        return await self._hub.call("transactions", {"limit": limit, "before": before}, call.locale)

    async def payment_status(self, call: Call, *, payment_id: str) -> Reply:
        return await self._purchases.show(payment_id, call.locale)

    async def create_checkout_session(
        self, call: Call, *, price_id: str, success_url: str | None = None, cancel_url: str | None = None
    ) -> Reply:
        return await self._purchases.create(
            price_id,
            success_url=success_url,
            cancel_url=cancel_url,
            locale=call.requested_locale,
            origin=None,
        )

    async def preview_change(self, call: Call, *, subscription: str, price_id: str) -> Reply:
        given = {"subscription": subscription, "price_id": price_id}
        return await self._hub.call("preview_change", given, call.locale)

    async def change_plan(self, call: Call, *, subscription: str, price_id: str) -> Reply:
        return await self._changed(
            "change_plan", {"subscription": subscription, "price_id": price_id}, call.locale
        )

    async def cancel_subscription(
        self, call: Call, *, subscription: str, at_period_end: bool = True
    ) -> Reply:
        given = {"subscription": subscription, "at_period_end": at_period_end}
        return await self._changed("cancel_subscription", given, call.locale)

    async def resume_subscription(self, call: Call, *, subscription: str) -> Reply:
        return await self._changed("resume_subscription", {"subscription": subscription}, call.locale)

    async def portal(self, call: Call, *, return_url: str | None = None) -> Reply:
        return await self._purchases.portal(return_url, call.locale)

    async def sync(self, call: Call, *, background: bool = False) -> Reply:
        before = self._seller.entitlements
        if background:
            self._seller.poll_soon(spread=True)
        else:
            await self._hub.call("sync", {}, call.locale)
            await self._seller.refresh()
        after = self._seller.entitlements
        changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
        return {"changed": changed, "last_sync": _time(self._seller.last_contact)}

    async def recovery_code(self, call: Call) -> Reply:
        answer = await self._seller.request(
            "POST", "/v1/recovery-codes", {}, headers={"Accept-Language": call.locale}
        )
        return {"code": str(answer.body.get("code", ""))}

    async def recover(self, call: Call, *, code: str) -> Reply:
        await self._seller.request(
            "POST", "/v1/recovery", {"code": code}, headers={"Accept-Language": call.locale}
        )
        await self._seller.refresh()
        held = self._seller.entitlements
        return {"features": sorted(name for name, one in held.items() if one.unlocked)}

    async def statement(self, call: Call, *, audience: str) -> Reply:
        answer = await self._seller.request(
            "POST", "/v1/statements", {"audience": audience}, headers={"Accept-Language": call.locale}
        )
        return {"statement": str(answer.body.get("statement", ""))}

    async def _changed(self, method: str, given: Mapping[str, object], locale: str) -> Reply:
        """The reply of a method after which the next reads show its effect."""
        reply = await self._hub.call(method, given, locale)
        with suppress(PaymentError):  # the next poll shows it
            await self._seller.refresh()
        return reply


def _next(rows: list[Reply], wanted: int, following: object) -> object:
    """The cursor after the first `wanted` rows, as `transactions` of the hub would return it."""
    if wanted >= len(rows):
        return following
    last = rows[wanted - 1]
    return f"{parse_time(last['date'])}~{last['id']}"


def _time(epoch: int | None) -> str | None:
    return None if epoch is None else format_time(epoch)
