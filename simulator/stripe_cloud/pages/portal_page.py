"""/p/session/ID: the customer portal: subscriptions, payment method, invoices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from .. import portal
from ..api_errors import Json
from ..billing.subscriptions import ENDED
from ..cards import CARDS, find_card
from .templating import language, page

if TYPE_CHECKING:
    from ..cloud import StripeCloud

LASTS = 24 * 3600
"""Stripe ends a portal session an hour after the last visit; here a day, for demos that pause."""

ACTIONS = {
    "cancel": ("subscription_cancel", portal.cancel),
    "keep": ("subscription_cancel", portal.keep),
    "pause": ("subscription_pause", portal.pause),
    "resume": ("subscription_pause", portal.resume),
}
"""Button → the feature of the configuration that it needs, and what it does."""


class PortalPage:
    def __init__(self, cloud: StripeCloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/p/session/{id}", self._show), web.post("/p/session/{id}", self._act)]

    async def _show(self, request: web.Request) -> web.Response:
        return self._page(request, self._session(request))

    async def _act(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        account = self._cloud.account
        form = {name: str(value) for name, value in (await request.post()).items()}
        customer = account.get("customer", session["customer"])
        locale = language(request, session["locale"])
        problem = None
        if form.get("action") in ACTIONS:
            feature, act = ACTIONS[form["action"]]
            sub = account.find(form.get("subscription"))
            mine = sub is not None and sub["customer"] == customer["id"] and sub["status"] not in ENDED
            if sub is not None and mine and portal.allowed(account, session, feature):
                act(account, sub)
        elif form.get("action") == "card" and portal.allowed(account, session, "payment_method_update"):
            card = find_card(form.get("card", ""))
            if card is None or card.decline is not None:
                refused = card.decline.text(locale) if card and card.decline else None
                italian, english = (
                    "Si possono usare solo le carte di prova.",
                    "Only test cards can be used here.",
                )
                problem = refused or (italian if locale == "it" else english)
            else:
                portal.change_payment_method(account, customer, card)
        elif form.get("action") == "pay":
            problem = portal.pay_open_invoices(account, customer)
        if problem is not None:
            return self._page(request, session, problem=problem)
        flow = session["flow"]
        if flow and flow["type"] != "customer_update" and flow["after_completion"]["redirect"]:
            raise web.HTTPSeeOther(flow["after_completion"]["redirect"]["return_url"])
        raise web.HTTPSeeOther(f"/p/session/{session['id']}")

    def _page(self, request: web.Request, session: Json, problem: str | None = None) -> web.Response:
        account = self._cloud.account
        customer = account.get("customer", session["customer"])
        mine = [s for s in account.newest_first("subscription") if s["customer"] == customer["id"]]
        default = (customer.get("invoice_settings") or {}).get("default_payment_method")
        live = [sub for sub in mine if sub["status"] not in ENDED]
        method = account.find(live[0]["default_payment_method"] if live else default)
        names = {
            item["id"]: account.get("product", item["price"]["product"])["name"]
            for sub in mine
            for item in sub["items"]["data"]
        }
        return page(
            "portal.html",
            locale=language(request, session["locale"]),
            session=session,
            customer=customer,
            seller=account.NAME,
            subscriptions=live,
            names=names,
            method=method,
            invoices=[i for i in account.newest_first("invoice") if i["customer"] == customer["id"]][:12],
            cards=[
                CARDS[number]
                for number in ("4242424242424242", "4000000000000341", "4000002760003184", "bank_debit")
            ],
            problem=problem,
            features={
                name
                for name in (
                    "subscription_cancel",
                    "subscription_pause",
                    "payment_method_update",
                    "invoice_history",
                )
                if portal.allowed(account, session, name)
            },
        )

    def _session(self, request: web.Request) -> Json:
        found = self._cloud.account.find(request.match_info["id"])
        if found is None or found["object"] != "billing_portal.session":
            raise web.HTTPNotFound(text="No such portal session.")
        if found["created"] + LASTS < self._cloud.clock.now():
            raise web.HTTPGone(text="This portal session has expired.")
        return found
