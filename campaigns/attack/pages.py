"""The two pages with every text that can reach them: they show it, and it stays text."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from html.parser import HTMLParser
from random import Random
from typing import Any, Self

from campaigns.attack.complaints import listening
from campaigns.attack.fuzzing import Target
from campaigns.attack.gateway_requests import fault_of, sendable
from campaigns.attack.hostile_texts import FORMULAS, HEADER_BREAKS, LINE_BREAKS, MARKUP
from campaigns.attack.json_mutations import JUNK
from stripe_payments.i18n import Title
from stripe_payments.settings import Feature, Settings
from stripe_payments.sync.fetch import stored_form, units_of
from tests.unit.stripe_payments.harness import FEATURE, ONETIME, Harness, open_harness

__all__ = ["TEXTS", "OutcomePageTexts", "skeleton", "titled"]

TEXTS = ("title", "title_it", "feature", "feature_it", "description", "item", "currency", "date", "session")
"""Of an input: titles of what is sold, a feature's, the item in Stripe's metadata, … what the query says."""

_STATES = ("open", "declined", "paid", "expired", "unknown", "foreign item")
_HOSTILE = (
    *MARKUP,
    *LINE_BREAKS,
    *FORMULAS,
    *HEADER_BREAKS,
    *(one for one in JUNK if isinstance(one, str)),
    "%3Cscript%3E1%3C/script%3E",
    "cs_test_1' onload='1",
)


class OutcomePageTexts(Target):
    """An input is the JSON of an object with `TEXTS`, `state`, `accept`, `locale`. Whatever they hold, the
    page has the elements and attributes that it has for harmless words, and shows the texts as they are.
    """

    name = "page-texts"

    async def __aenter__(self) -> Self:
        self._complaints = self.stack.enter_context(listening())
        opening = open_harness(self.folder, STRIPE_API_BASE="http://127.0.0.1:9")
        self._harness: Harness = await self.stack.enter_async_context(opening)
        self._sessions = 0
        self._settings = (await self._harness.parts()).settings()
        return self

    async def attempt(self, given: bytes) -> str | None:
        wanted = json.loads(given)
        if not isinstance(wanted, dict):
            return None
        texts = {name: _carried(wanted.get(name)) for name in TEXTS}
        state = wanted.get("state") if wanted.get("state") in _STATES else "paid"
        harmless = {name: "x" if text.strip() else "" for name, text in texts.items()}
        shown = await self._page(texts, str(state), wanted)
        plain = await self._page(harmless, str(state), wanted)
        if (fault := fault_of(shown.as_received()) or fault_of(plain.as_received())) is not None:
            return fault
        if skeleton(shown.body) != skeleton(plain.body):
            return f"the page is built otherwise: {skeleton(shown.body)} instead of {skeleton(plain.body)}"
        if shown.status != plain.status:
            return f"{shown.status} instead of {plain.status}"
        title = texts["title_it" if 'lang="it"' in shown.body else "title"]
        if state == "paid" and title.strip() and _words(title) not in _words(_text_of(shown.body)):
            return f"the title {title!r} is not shown as it is"
        return self._complaints.taken()

    async def _page(self, texts: dict[str, str], state: str, wanted: dict[str, Any]) -> Any:
        parts = await self._harness.parts()
        assert self._harness.service is not None
        settings = titled(self._settings, texts)
        self._harness.service.gate.open(replace(parts, settings=lambda: settings))
        self._sessions += 1
        session_id = f"cs_test_{self._sessions}"
        alias = "price_of_before" if state == "foreign item" else ONETIME
        await self._harness.add_checkout(
            session_id, price_alias=alias, state="open" if state == "open" else "complete"
        )
        raw = _session(session_id, state, parts.identity.load().router_id, texts)
        await parts.ledger.write(lambda tx: tx.objects.put(stored_form(units_of(raw, 0.0)), 0))
        await parts.reconciler.recompute()
        asked = texts["session"] if state == "unknown" else session_id
        accept, locale = _carried(wanted.get("accept")), _carried(wanted.get("locale"))
        return await self._harness.http(
            "GET",
            "/payment-success",
            query=f"session_id={asked}&locale={locale}",
            accept_language=accept,
            x_remote_addr=f"2001:db8::{self._sessions:x}",  # each has a budget of ids that do not exist
        )

    def mutate(self, chance: Random, given: bytes) -> bytes:
        wanted = json.loads(given)
        for _ in range(chance.choice((1, 2, 4))):
            name = chance.choice((*TEXTS, "accept", "locale"))
            text = chance.choice(_HOSTILE)
            known = wanted.get(name)
            joined = f"{known}{text}" if isinstance(known, str) and len(known) < 500 else text
            wanted[name] = chance.choice((text, joined))
        wanted["state"] = chance.choice(_STATES)
        return json.dumps(wanted).encode()


def _carried(value: object) -> str:
    """A text as the bus carries it and Stripe's answers are repaired to."""
    text = sendable(value) if isinstance(value, str) else ""
    return str(text).encode("utf-8", "replace").decode()


def titled(settings: Settings, texts: dict[str, str]) -> Settings:
    price = settings.prices[ONETIME]
    sold = settings.products[price.of]
    title = Title(texts["title"] or "x", texts["title_it"] or "x")
    named = replace(sold, titles=title, descriptions=Title(texts["description"], texts["description"]))
    feature = Feature(
        FEATURE,
        Title(texts["feature"], texts["feature_it"]),
        Title(texts["description"], texts["description"]),
    )
    return replace(
        settings,
        products={**settings.products, price.of: named},
        features={**settings.features, FEATURE: feature},
    )


def _session(session_id: str, state: str, router_id: str, texts: dict[str, str]) -> dict[str, Any]:
    paid = state in ("paid", "foreign item")
    return {
        "id": session_id,
        "object": "checkout.session",
        "mode": "payment",
        "status": {"open": "open", "declined": "open", "expired": "expired"}.get(state, "complete"),
        "payment_status": "paid" if paid else "unpaid",
        "created": int(time.time()),
        "amount_total": 4999,
        "currency": texts["currency"] or "eur",
        "metadata": {"router_id": router_id, "item": texts["item"], "price_alias": ONETIME},
        "payment_intent": {
            "id": f"pi_{session_id}",
            "object": "payment_intent",
            "status": "requires_payment_method" if state == "declined" else "succeeded",
            "last_payment_error": {"code": texts["item"], "decline_code": texts["date"]},
        },
    }


class _Skeleton(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parts.append(f"<{tag} {' '.join(name for name, _ in attrs)}>")

    def handle_endtag(self, tag: str) -> None:
        self.parts.append(f"</{tag}>")

    def handle_comment(self, data: str) -> None:
        self.parts.append("<!---->")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def skeleton(page: str) -> list[str]:
    """A page's tags with the names of their attributes: all that a text must not change."""
    parser = _Skeleton()
    parser.feed(page)
    parser.close()
    return parser.parts


def _text_of(page: str) -> str:
    parser = _Skeleton()
    parser.feed(page)
    parser.close()
    return "".join(parser.text)


def _words(text: str) -> str:
    return "".join(text.split()).lower()
