"""`/_sim/*`: what tests and people do that no Stripe API offers: pay, move the clock, break things, look
inside.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from . import checkout, portal, refunds
from .api_errors import Json, StripeApiError, invalid
from .billing.collection import AFTERWARDS
from .resources.platform import create_webhook_endpoint

if TYPE_CHECKING:
    from .cloud import StripeCloud


class Control:
    """Answers are JSON; errors have Stripe's shape and status 400 or 404."""

    def __init__(self, cloud: StripeCloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        table: list[tuple[str, str, Callable[[web.Request], Awaitable[Any]]]] = [
            ("POST", "/_sim/checkout/{id}/pay", self._pay),
            ("POST", "/_sim/checkout/{id}/expire", self._expire),
            ("POST", "/_sim/clock/advance", self._advance),
            ("GET", "/_sim/clock", self._clock),
            ("GET", "/_sim/faults", self._get_faults),
            ("POST", "/_sim/faults", self._set_faults),
            ("DELETE", "/_sim/faults", self._reset_faults),
            ("POST", "/_sim/dispute", self._dispute),
            ("POST", "/_sim/refunds", self._refund),
            ("POST", "/_sim/refunds/{id}/fail", self._fail_refund),
            ("POST", "/_sim/debits/{id}/settle", self._settle_debit),
            ("POST", "/_sim/subscriptions/{id}/{action:pause|resume}", self._pause),
            ("POST", "/_sim/customers/{id}/card", self._change_card),
            ("POST", "/_sim/keys", self._keys),
            ("POST", "/_sim/settings", self._settings),
            ("GET", "/_sim/requests", self._requests),
            ("DELETE", "/_sim/requests", self._clear_requests),
            ("GET", "/_sim/state", self._state),
            ("GET", "/_sim/webhooks", self._webhooks),
            ("POST", "/_sim/webhooks", self._register),
            ("POST", "/_sim/events/{id}/resend", self._resend),
        ]
        return [web.route(method, path, _answering(handler)) for method, path, handler in table]

    async def _pay(self, request: web.Request) -> Json:
        body = await _body(request, "card", "email", "name", "challenge", "promotion_code", "currency")
        for name, value in body.items():
            if not isinstance(value, str):
                raise invalid(f"{name} is a string", param=name)
        if body.get("challenge", "complete") not in {"complete", "fail", "leave"}:
            raise invalid("challenge is one of complete, fail, leave", param="challenge")
        return self._cloud.pay(request.match_info["id"], **body)

    async def _expire(self, request: web.Request) -> Json:
        account = self._cloud.account
        return checkout.expire(account, account.get("checkout.session", request.match_info["id"]))

    async def _advance(self, request: web.Request) -> Json:
        body = await _body(request, "seconds")
        seconds = body.get("seconds")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise invalid("seconds is a number", param="seconds")
        return {"now": self._cloud.advance(seconds)}

    async def _clock(self, request: web.Request) -> Json:
        return {"now": self._cloud.clock.now(), "offset": self._cloud.clock.offset}

    async def _get_faults(self, request: web.Request) -> Json:
        return self._cloud.faults.describe()

    async def _set_faults(self, request: web.Request) -> Json:
        return self._cloud.faults.configure(await _body(request))

    async def _reset_faults(self, request: web.Request) -> Json:
        self._cloud.faults.reset()
        return self._cloud.faults.describe()

    async def _dispute(self, request: web.Request) -> Json:
        body = await _body(request, "charge", "payment_intent", "session", "outcome", "amount", "case_type")
        target = body.get("charge") or body.get("payment_intent") or body.get("session")
        if not isinstance(target, str):
            raise invalid(
                "Name a charge, payment_intent or session.", param="charge", code="parameter_missing"
            )
        details = {name: body[name] for name in ("amount", "case_type") if name in body}
        return self._cloud.dispute(target, body.get("outcome", "open"), **details)

    async def _refund(self, request: web.Request) -> Json:
        """`{"charge", "amount"?}`: a refund in the Dashboard, of the rest without an amount."""
        return refunds.create_refund(self._cloud.account, await _body(request, "charge", "amount"))

    async def _settle_debit(self, request: web.Request) -> Json:
        """`{"paid": bool}`: the bank pays or refuses a pending debit, by its charge, before its time."""
        body = await _body(request, "paid")
        return self._cloud.settle_debit(request.match_info["id"], paid=bool(body.get("paid", True)))

    async def _pause(self, request: web.Request) -> Json:
        """As in the customer portal; what cannot be paused or resumed stays as it is."""
        account = self._cloud.account
        sub = account.get("subscription", request.match_info["id"])
        {"pause": portal.pause, "resume": portal.resume}[request.match_info["action"]](account, sub)
        return sub

    async def _fail_refund(self, request: web.Request) -> Json:
        """`{"charge_follows": true}`: whether the charge's amount_refunded goes back too (not documented)."""
        body = await _body(request, "charge_follows")
        refund = request.match_info["id"]
        self._cloud.fail_refund(refund, charge_follows=bool(body.get("charge_follows", True)))
        return self._cloud.account.get("refund", refund)

    async def _change_card(self, request: web.Request) -> Json:
        body = await _body(request, "card")
        return self._cloud.change_card(request.match_info["id"], str(body.get("card", "")))

    async def _keys(self, request: web.Request) -> Json:
        """`{"key": "rk_test_…", "missing": ["rak_webhook_write"]}` or `{"key", "expired": true}`; false makes
        it valid again. The key `*` is every one.
        """
        body = await _body(request, "key", "missing", "expired")
        if not isinstance(body.get("key"), str):
            raise invalid("Name a key.", param="key", code="parameter_missing")
        if not isinstance(body.get("missing", []), list):
            raise invalid("missing is a list of permission names", param="missing")
        if body.get("expired"):
            self._cloud.api.keys.revoke(body["key"])
        elif "expired" in body:
            self._cloud.api.keys.restore(body["key"])
        self._cloud.api.keys.restrict(body["key"], list(body.get("missing", [])))
        return {"missing": body.get("missing", []), "expired": bool(body.get("expired"))}

    async def _settings(self, request: web.Request) -> Json:
        """`{"dunning_ends_with": "canceled" | "unpaid" | "past_due" | "paused", "search": false}`: an
        account that is not offered the Search API; `"lists_of_deleted_customers": false`: they answer
        `resource_missing`, which Stripe does not document either way. `"terms_of_service_url"`: that of
        the public details, without which no consent to the terms can be collected. `"tax_percent"`: the
        rate of automatic tax; `"tax_behavior"`: "inclusive" or "exclusive", of prices that have none;
        `"adaptive_pricing"`: whether new Checkout sessions offer the buyer's currency.
        """
        body = await _body(request, *self._cloud.account.settings)
        for name in ("search", "lists_of_deleted_customers", "adaptive_pricing"):
            if not isinstance(body.get(name, True), bool):
                raise invalid(f"{name} is true or false", param=name)
        percent = body.get("tax_percent", 0)
        if not isinstance(percent, int) or isinstance(percent, bool) or not 0 <= percent < 100:
            raise invalid("tax_percent is a whole number below 100", param="tax_percent")
        if body.get("tax_behavior", "inclusive") not in {"inclusive", "exclusive"}:
            raise invalid("tax_behavior is inclusive or exclusive", param="tax_behavior")
        if body.get("dunning_ends_with", "canceled") not in AFTERWARDS:
            raise invalid(f"dunning_ends_with is one of {', '.join(AFTERWARDS)}", param="dunning_ends_with")
        self._cloud.account.settings.update(body)
        return self._cloud.account.settings

    async def _requests(self, request: web.Request) -> Json:
        query = request.query
        limit = query.get("limit", "")
        rows = self._cloud.requests(
            method=query.get("method"),
            path=query.get("path"),
            limit=int(limit) if limit.isdecimal() else None,
        )
        return {"requests": rows}

    async def _clear_requests(self, request: web.Request) -> Json:
        self._cloud.api.log.clear()
        return {"requests": []}

    async def _state(self, request: web.Request) -> Json:
        return self._cloud.state()

    async def _webhooks(self, request: web.Request) -> Json:
        endpoints = list(self._cloud.account.newest_first("webhook_endpoint"))
        return {"endpoints": endpoints, "deliveries": self._cloud.deliveries()}

    async def _register(self, request: web.Request) -> Json:
        """`{"url", "enabled_events"?}`: an endpoint without going through the API; the answer has its
        secret.
        """
        body = await _body(request, "url", "enabled_events")
        events = body.get("enabled_events", ["*"])
        if not isinstance(events, list):
            raise invalid("enabled_events is a list", param="enabled_events")
        params = {"url": str(body.get("url", "")), "enabled_events": events}
        return create_webhook_endpoint(self._cloud.account, params)

    async def _resend(self, request: web.Request) -> Json:
        return {"deliveries": self._cloud.resend(request.match_info["id"])}


async def _body(request: web.Request, *known: str) -> Json:
    """A JSON object from the request (empty without one); other keys than `known` are refused, if any are
    named.
    """
    raw = await request.read()
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        raise invalid("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise invalid("The body is a JSON object.")
    for name in body:
        if known and name not in known:
            raise invalid(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")
    return body


def _answering(
    handler: Callable[[web.Request], Awaitable[Any]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(await handler(request))
        except StripeApiError as error:
            return web.json_response(error.body(), status=error.status)

    return answer
