"""`/payment-success` and `/payment-cancel`: the pages that Stripe redirects the buyer to.

They need no login: a browser sends LuCI's cookie neither from another site nor on another device, and the
session may have expired. The id of the checkout session cannot be guessed; who has it sees the payment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from stripe_payments.currencies import decimal_amount
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.http import Request, Response
from stripe_payments.http_api.outcome import TONES, Outcome, State, outcome
from stripe_payments.http_api.page_texts import texts_in
from stripe_payments.http_api.rate_limit import RateLimit
from stripe_payments.http_api.templating import Templates
from stripe_payments.i18n import accepted_language, language
from stripe_payments.ledger import Checkout
from stripe_payments.log import Log
from stripe_payments.return_urls import origin_of
from stripe_payments.startup_gate import Served, StartupGate

_log = Log("pages")

SHOP: Final = "/cgi-bin/luci/admin/payments/shop"
FEATURES: Final = "/cgi-bin/luci/admin/payments/features"
_STATUS_TIMEOUT_S: Final = 1.5
"""How long the page waits for Stripe, so that the buyer mostly sees the outcome at once."""


class ReturnPages:
    """`unknown_ids` limits for each client address how many ids it may guess."""

    def __init__(self, gate: StartupGate, templates: Templates, unknown_ids: RateLimit) -> None:
        self._gate = gate
        self._templates = templates
        self._unknown_ids = unknown_ids

    async def success(self, request: Request, _fields: Mapping[str, str]) -> Response:
        return await self._show(request, left_checkout=False)

    async def cancel(self, request: Request, _fields: Mapping[str, str]) -> Response:
        return await self._show(request, left_checkout=True)

    async def _show(self, request: Request, *, left_checkout: bool) -> Response:
        parts = await self._gate.served()
        session_id = request.query.get("session_id", "")
        checkout = await _checkout(parts, session_id)
        if checkout is None:
            if wait := session_id and self._unknown_ids.take(request.remote):
                raise PaymentError("rate_limited", retry_after=wait)
            state: State = "canceled" if left_checkout and not session_id else "unknown"
            locale = page_language(request, parts.settings().locale)
            return await self._page(
                request, parts, Outcome(state, 0), locale, {}, status=404 if state == "unknown" else 200
            )
        locale = page_language(request, checkout.locale, parts.settings().locale)
        payment = await _payment(parts, session_id, locale)
        checkout = await _checkout(parts, session_id) or checkout
        features = _features(parts, checkout, locale)
        found = outcome(
            payment.get("status", ""),
            final=payment.get("final", False),
            checkout_open=checkout.state in ("creating", "open"),
            fetched=bool(payment) and parts.reachability == "ok",
            left_checkout=left_checkout,
            unlocked=all(feature["unlocked"] for feature in features),
        )
        details = _details(parts, checkout, payment, features, found, locale)
        return await self._page(request, parts, found, locale, details)

    async def _page(
        self,
        request: Request,
        parts: Served,
        found: Outcome,
        locale: str,
        details: Mapping[str, Any],
        *,
        status: int = 200,
    ) -> Response:
        texts = texts_in(locale)
        item = details.get("item") or texts["item_fallback"]
        lead = texts[f"{found.state}_lead"].format(item=item)
        content: dict[str, Any] = {
            "status": "",
            "status_url": None,
            "checkout_url": None,
            "features": [],
            "features_heading": "",
            "amount": None,
            "currency": "",
            "paid_at": None,
            "why": None,
            "notes": [],
            **details,
            "state": found.state,
            "follow": found.follow,
            "tone": TONES[found.state],
            "heading": texts[f"{found.state}_heading"],
            "lead": lead[:1].upper() + lead[1:],
            "shop_url": SHOP if _serves_luci(request, parts) else None,
            "features_url": FEATURES if _serves_luci(request, parts) else None,
            "seller": parts.settings().contact,
        }
        return await self._templates.render("outcome.html", locale, content, status=status)


def page_language(request: Request, *preferred: str | None) -> str:
    """Return the first language of: `?locale`, all `preferred` but the last (the shop's, where the buyer
    chose), the browser's, the last of `preferred` (the settings')."""
    chosen = [language(request.query.get("locale")), *(language(locale) for locale in preferred[:-1])]
    chosen.append(accepted_language(request.headers.get("accept-language", "")))
    chosen.extend(language(locale) for locale in preferred[-1:])
    return next((locale for locale in chosen if locale), "en")


async def _payment(parts: Served, session_id: str, locale: str) -> dict[str, Any]:
    """Return the payment's current status, or the stored one; empty if neither is there in time."""
    fetching = asyncio.ensure_future(parts.payment_status.show(session_id, locale))
    done, _ = await asyncio.wait({fetching}, timeout=_STATUS_TIMEOUT_S)
    if not done:
        fetching.cancel()  # the request to Stripe continues for the next caller
        return {}
    try:
        return fetching.result()
    except PaymentError as error:
        _log.info("page without payment status", session=session_id, code=error.code)
        return {}


async def _checkout(parts: Served, session_id: str) -> Checkout | None:
    if not session_id.startswith("cs_") or len(session_id) > 255:
        return None
    return await parts.ledger.read(lambda tx: tx.checkouts.by_session(session_id))


def _serves_luci(request: Request, parts: Served) -> bool:
    """Whether to link the shop: the web server instance for the internet does not serve LuCI."""
    settings = parts.settings()
    if not settings.listen or not settings.public_url:
        return True
    return request.origin != origin_of(settings.public_url)


def _features(parts: Served, checkout: Checkout, locale: str) -> list[dict[str, Any]]:
    settings = parts.settings()
    price = settings.price(checkout.price_alias) or settings.price(checkout.price_id or "")
    if price is None:
        return []
    known, described = parts.entitlements, settings.features
    return [
        {
            "name": name,
            "title": described[name].title_in(locale) if name in described else name,
            "description": described[name].description_in(locale).strip() if name in described else "",
            "unlocked": name in known and known[name].unlocked,
        }
        for name in settings.features_of(price)
    ]


def _details(
    parts: Served,
    checkout: Checkout,
    payment: Mapping[str, Any],
    features: list[dict[str, Any]],
    found: Outcome,
    locale: str,
) -> dict[str, Any]:
    texts = texts_in(locale)
    settings = parts.settings()
    price = settings.price(checkout.price_alias)
    sold = settings.sellable(price.of) if price else None
    charged = payment if found.state not in ("open", "canceled", "expired") else {}
    # in the buyer's own currency, where Stripe's page converted the price
    shown = charged.get("presentment") or charged
    currency = shown.get("currency") or ""
    notes: list[str] = []
    if found.state == "waiting" and parts.reachability == "unreachable":
        notes.append(texts["waiting_offline"])
    if found.state == "paid":
        notes.append(texts["paid_close"])
    failure = payment.get("failure") if found.state in ("failed", "open") else None
    unlocked = all(feature["unlocked"] for feature in features)
    return {
        "item": sold.title_in(locale) if sold else payment.get("title"),
        "status": payment.get("status", ""),
        "status_url": f"/api/payments/status/{checkout.session_id}" if found.follow else None,
        "checkout_url": checkout.url if found.state == "open" else None,
        "features": features if found.state == "paid" else [],
        "features_heading": texts["paid_features" if unlocked else "paid_unlocking"],
        "amount": decimal_amount(shown["amount"], currency) if currency else None,
        "currency": currency.upper(),
        "paid_at": charged.get("payment_date"),
        "why": failure["message"] if failure else None,
        "notes": notes,
    }
