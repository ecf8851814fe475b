"""LuCI's pages in a real Chromium, with hostile texts wherever the service gives them words: nothing runs,
nothing breaks out, nothing leads elsewhere.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from playwright.async_api import Browser, Page

from campaigns.attack.cases import Cases
from campaigns.attack.hostile_texts import FORMULAS, MARKUP, PWNED
from campaigns.attack.json_mutations import JUNK
from tests.luci.conftest import ScriptedRouter, Visitor, open_browser, open_visitor, scripted_router

__all__ = ["Watch", "files", "pages", "trespasses"]

VIEWS = {
    "shop": "/admin/payments/shop",
    "features": "/admin/payments/features",
    "transactions": "/admin/payments/transactions",
    "settings": "/admin/payments/settings",
    "overview": "/admin/status/overview",
}
_READY = {
    "shop": ".sp-offers *",
    "features": ".sp-page h2",
    "transactions": "[data-transaction]",
    "settings": "#sp-doctor [data-check]",
    "overview": ".sp-widget",
}
_BUTTONS = (
    ".sp-offers button >> nth=2",
    ".sp-offers button >> nth=3",
    "[data-action=change]",
    "[data-action=cancel]",
    "[data-action=refund]",
    "[data-action=grant]",
    "#sp-doctor button",
)

_KEPT = frozenset(
    ("id", "price_id", "interval", "plan", "price", "date", "features", "source", "reason", "until", "kind")
) | frozenset(
    ("status", "current_period_end", "ends_at", "trial_end", "grace_until", "cancel_at", "severity", "mode")
)
"""What pages look things up by. In the second round of each text these are hostile too."""

LOOK = """() => {
	const found = [];
	const see = root => {
		for (const node of root.querySelectorAll('*')) {
			const name = node.localName;
			if (['iframe', 'object', 'embed', 'base'].includes(name))
				found.push(`<${name}>`);
			if (name == 'script' && !node.src && /PWNED/.test(node.textContent))
				found.push('<script> from a text');
			if (name == 'img' && node.getAttribute('src') == 'x')
				found.push('<img> from a text');
			for (const attribute of node.attributes) {
				if (/^on/.test(attribute.name))
					found.push(`${name} ${attribute.name}`);
				if (/^(xlink:)?(href|src|action|formaction)$/.test(attribute.name) && attribute.value) {
					let protocol = 'none';
					try { protocol = new URL(attribute.value, location.href).protocol; } catch {}
					if (!['http:', 'https:', 'blob:'].includes(protocol) && attribute.value != '#')
						found.push(`${name} ${attribute.name}=${attribute.value.slice(0, 60)}`);
				}
			}
		}
	};
	see(document.body);
	return { ran: window.PWNED ?? null, found: [...new Set(found)] };
}""".replace("PWNED", PWNED)


def poisoned(value: Any, text: str, *, everywhere: bool) -> Any:
    """An answer with `text` behind every word in it."""
    if isinstance(value, str):
        return f"{value} {text}"
    if isinstance(value, list):
        return [poisoned(one, text, everywhere=everywhere) for one in value]
    if isinstance(value, dict):
        return {
            name: inner if name in _KEPT and not everywhere else poisoned(inner, text, everywhere=everywhere)
            for name, inner in value.items()
        }
    return value


class Watch:
    """What a page asked of hosts that are not the router."""

    def __init__(self, page: Page, url: str) -> None:
        self._seen: list[str] = []
        self._url = url
        page.on("request", lambda request: self._note(request.url))
        page.on("dialog", lambda dialog: self._seen.append(f"dialog {dialog.message}"))

    def _note(self, url: str) -> None:
        if url.startswith(("http:", "https:")) and not url.startswith(self._url):
            self._seen.append(url)

    def taken(self) -> list[str]:
        seen, self._seen = self._seen, []
        return seen


async def trespasses(page: Page, said: Watch, errors: Sequence[str] = ()) -> str | None:
    """What a hostile text achieved on a page; None for nothing."""
    looked = await page.evaluate(LOOK)
    problems = [f"a script ran: {looked['ran']}"] if looked["ran"] else []
    problems += [str(one) for one in looked["found"]]
    problems += [f"asked {one}" for one in said.taken()] + list(errors)
    return "; ".join(problems) or None


async def pages(cases: Cases) -> None:
    """Every view, with all texts of all answers hostile; then the same with what they look things up by."""
    joined = (" ".join(MARKUP[:13]), " ".join(MARKUP[13:]), " ".join(reversed(MARKUP)))
    rounds = [(text, everywhere) for text in (*joined, *MARKUP) for everywhere in (False, True)]
    async with open_browser() as browser:
        for number, (text, everywhere) in enumerate(rounds):
            if number >= cases.count and cases.over:
                break
            async with scripted_router() as router:
                await _poison(router, text, everywhere=everywhere)
                await _visit(browser, router, cases, text, everywhere=everywhere)


async def _poison(router: ScriptedRouter, text: str, *, everywhere: bool) -> None:
    payments = router.payments
    payments.furnish()
    payments.checkout_url = "javascript:window.__pwned=1//"
    payments.subscriptions[0]["pending_change"] = {
        "price": "premium_monthly",
        "expires_at": None,
        "invoice_url": "javascript:window.__pwned=1//",
    }
    payments.subscriptions[0]["latest_invoice"] = {
        "url": "javascript:window.__pwned=1//",
        "pdf": "data:text/html,x",
    }
    for row in payments.transactions[:4]:
        row.update(receipt_url="javascript:window.__pwned=1//", invoice_pdf="vbscript:x")
    for name in (
        "catalog",
        "features",
        "subscriptions",
        "transactions",
        "checks",
        "status_extra",
        "preview",
    ):
        setattr(payments, name, poisoned(getattr(payments, name), text, everywhere=everywhere))
    payments.payment = {"status": "failed", "final": False, "failure": {"message": text}, "title": text}
    content = await router.bus.call("stripe-payments.uci", "load", {})
    settings: Any = content["settings"]
    for section, options in settings.items():
        for option in ("title", "title_it", "description"):
            if isinstance(options, dict) and option in options:
                change = {"config": "stripe-payments", "section": section, "values": {option: text[:2000]}}
                await router.bus.call("uci", "set", change)
    await router.bus.call("uci", "commit", {"config": "stripe-payments"})


async def _visit(
    browser: Browser, router: ScriptedRouter, cases: Cases, text: str, *, everywhere: bool
) -> None:
    visitor = await open_visitor(browser)
    said = Watch(visitor.page, router.front.url)
    try:
        for view, path in VIEWS.items():
            await visitor.log_in(router.front.url, "root", path)
            if not everywhere:  # with its keys changed a page may well be empty
                await visitor.page.wait_for_selector(_READY[view], state="attached")
            await visitor.page.wait_for_timeout(300 if everywhere else 50)
            await _touch(visitor, view)
            problem = await trespasses(visitor.page, said, [] if everywhere else _broken(visitor))
            cases.note(problem, f"{view}{' with keys' if everywhere else ''}: {text[:60]!r}")
            visitor.complaints.clear()
    finally:
        await visitor.context.close()


def _broken(visitor: Visitor) -> list[str]:
    """Exceptions of our own code. What a browser says of links that it may not open is no fault."""
    return [one for one in visitor.complaints if re.search(r"Error\b", one) and "net::" not in one]


async def _touch(visitor: Visitor, view: str) -> None:
    """Does what wakes hostile attributes, and opens the dialogues."""
    page = visitor.page
    for button in _BUTTONS:
        found = page.locator(button).first
        if await found.count() and await found.is_visible() and await found.is_enabled():
            await found.click()
            await page.wait_for_timeout(100)
            await page.evaluate(_WAKE)
            await page.keyboard.press("Escape")
    if view == "settings":
        for tab in await page.locator(".sp-tabs [role=tab]").all():
            if await tab.is_visible():
                await tab.click()
    await page.evaluate(_WAKE)


_WAKE = """() => {
	for (const node of document.querySelectorAll('body *')) {
		for (const kind of ['mouseover', 'focus', 'error', 'load', 'toggle'])
			node.dispatchEvent(new Event(kind, { bubbles: false }));
		if (node.localName == 'a' && /^(javascript|data|vbscript):/i.test(node.getAttribute('href') ?? ''))
			node.click();
	}
}"""


# -- files -----------------------------------------------------------------------------------------


_FORMULA = re.compile(r"^[\s\u200b\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


async def files(cases: Cases) -> None:
    """Tables as CSV, encoded by the shipped code in Chromium and read by Python: each cell is there as it
    was, and none is a formula.
    """
    alphabet = [
        *FORMULAS,
        *(one for one in JUNK if isinstance(one, str)),
        "-1",
        "-12.50",
        "4,99",
        '"',
        ",",
        "\r\n",
        "",
    ]
    async with open_browser() as browser, scripted_router() as router:
        visitor = await open_visitor(browser)
        await visitor.log_in(router.front.url, "root", VIEWS["transactions"])
        await visitor.page.wait_for_selector(".sp-page h2")
        for _ in range(max(1, cases.count // 200)):
            cells = [
                "".join(cases.chance.choices(alphabet, k=cases.chance.choice((1, 1, 2)))) for _ in range(200)
            ]
            cells = [cell.encode("utf-8", "replace").decode() for cell in cells]
            rows = [cells[at : at + 4] for at in range(0, len(cells), 4)]
            encode = "rows => L.require('stripe-payments.csv').then(csv => csv.encode(rows))"
            text: str = await visitor.page.evaluate(encode, rows)
            read = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
            if len(read) != len(cells):
                cases.note(f"{len(read)} cells instead of {len(cells)}", repr(cells))
                continue
            for before, after in zip(cells, read, strict=True):
                cases.note(_unsafe(before, after), repr(before))
        await visitor.context.close()


def _unsafe(before: str, after: str) -> str | None:
    if after not in (before, f"'{before}"):
        return f"it became {after!r}"
    if _FORMULA.match(after) and not _NUMBER.fullmatch(after):
        return f"a spreadsheet computes {after!r}"
    return None
