"""/c/pay/ID: the hosted Checkout page, its 3-D Secure challenge, and what it shows once a session is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from .. import checkout
from ..api_errors import Json, StripeApiError
from ..cards import CARDS
from .templating import language, page

if TYPE_CHECKING:
    from ..cloud import StripeCloud

_OFFERED = (
    "4242424242424242",
    "4000000000000002",
    "4000002500003155",
    "bank_debit",
    "4000000000009995",
    "4000000000000341",
)


class CheckoutPage:
    def __init__(self, cloud: StripeCloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/c/pay/{id}", self._show),
            web.post("/c/pay/{id}", self._submit),
            web.get("/c/pay/{id}/3ds", self._challenge),
            web.post("/c/pay/{id}/3ds", self._answer),
            web.get("/3ds/{intent}", self._challenge_of_intent),
        ]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        return self._over(request, session) or self._form(request, session)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        if (over := self._over(request, session)) is not None:
            return over
        form = {name: str(value) for name, value in (await request.post()).items()}
        locale = language(request, session["locale"])
        try:
            if form.get("action") == "code":
                checkout.apply_code(self._cloud.account, session, form.get("promotion_code", ""))
                return self._form(request, session, filled=form)
            result = checkout.submit(
                self._cloud.account,
                session,
                card=form.get("card", ""),
                email=form.get("email") or None,
                name=form.get("name") or None,
            )
        except StripeApiError as error:
            return self._form(request, session, filled=form, problem=_in_language(error, locale))
        return self._continue(request, session, result, filled=form)

    async def _challenge(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        if (over := self._over(request, session)) is not None:
            return over
        if "pending" not in self._cloud.account.behind(session["id"]):
            raise web.HTTPSeeOther(f"/c/pay/{session['id']}")
        return page("challenge.html", locale=language(request, session["locale"]), session=session)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        form = await request.post()
        try:
            result = checkout.answer_challenge(
                self._cloud.account, session, passed=form.get("result") == "complete"
            )
        except StripeApiError:
            raise web.HTTPSeeOther(f"/c/pay/{session['id']}") from None
        return self._continue(request, session, result)

    async def _challenge_of_intent(self, request: web.Request) -> web.StreamResponse:
        behind = self._cloud.account.behind(request.match_info["intent"])
        if "session" not in behind:
            raise web.HTTPNotFound
        raise web.HTTPSeeOther(f"/c/pay/{behind['session']}/3ds")

    def _continue(
        self, request: web.Request, session: Json, result: checkout.Submission, filled: Json | None = None
    ) -> web.StreamResponse:
        if result.state == "requires_action":
            raise web.HTTPSeeOther(f"/c/pay/{session['id']}/3ds")
        if result.decline is not None:
            problem = result.decline.text(language(request, session["locale"]))
            return self._form(request, session, filled=filled, problem=problem)
        raise web.HTTPSeeOther(checkout.success_address(session) or f"/c/pay/{session['id']}")

    def _form(
        self, request: web.Request, session: Json, *, filled: Json | None = None, problem: str | None = None
    ) -> web.Response:
        items = self._cloud.account.behind(session["id"])["items"]
        customer = self._cloud.account.find(session["customer"]) or {}
        data = self._cloud.account.behind(session["id"])["params"].get("subscription_data", {})
        return page(
            "checkout.html",
            locale=language(request, session["locale"]),
            session=session,
            items=items,
            seller=self._cloud.account.NAME,
            cards=[CARDS[number] for number in _OFFERED],
            more_cards=[card for card in CARDS.values() if card.number not in _OFFERED],
            needs_card=checkout.payment_needed(session),
            email=customer.get("email") or session["customer_email"],
            filled=filled or {},
            problem=problem,
            trial_days=data.get("trial_period_days"),
        )

    def _over(self, request: web.Request, session: Json) -> web.Response | None:
        """The page of a session that is not open any more; None while it is."""
        if session["status"] == "open":
            return None
        return page(
            "session_over.html",
            locale=language(request, session["locale"]),
            session=session,
            back=checkout.success_address(session)
            if session["status"] == "complete"
            else session["cancel_url"],
        )

    def _session(self, request: web.Request) -> Json:
        found: Any = self._cloud.account.find(request.match_info["id"])
        if found is None or found["object"] != "checkout.session":
            raise web.HTTPNotFound(text="No such Checkout Session.")
        session: Json = found
        return session


def _in_language(error: StripeApiError, locale: str) -> str:
    italian = {
        "card_declined": "Si possono usare solo le carte di prova: un simulatore non deve vedere carte vere.",
        "promotion_code_invalid": "Questo codice promozionale non è valido.",
        "promotion_code_expired": "Questo codice promozionale non è più valido.",
        "coupon_expired": "Questo codice promozionale è scaduto.",
    }
    return italian.get(error.code or "", error.message) if locale == "it" else error.message
