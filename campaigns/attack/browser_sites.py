"""Other sites in the browser of a logged-in LuCI user: in a real Chromium, with the real
daemon behind the web server.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from playwright.async_api import Browser, Page
from playwright.async_api import Error as BrowserError

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from campaigns.attack.hostile_texts import MARKUP
from campaigns.attack.luci_pages import Watch, trespasses
from campaigns.attack.pages import titled
from campaigns.attack.raw_http import front_of
from campaigns.attack.return_addresses import ALLOWED, invented
from stripe_payments.arguments import Arguments
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.auth import COOKIE
from stripe_payments.return_urls import resolve
from tests.luci.conftest import open_browser, open_visitor
from tests.unit.stripe_payments.harness import ONETIME, Shop, open_shop

__all__ = ["addresses", "other_sites", "outcome_pages"]

CREATE = "/api/payments/create-checkout-session"
SESSION = "/api/payments/session"
_ORDER = json.dumps({"price_id": ONETIME})

OTHER_SITE = Path(__file__).with_name("other_site.html")
"""What a page of another site tries."""


@dataclass(frozen=True)
class _Stage:
    """A router at `router`, with a logged-in LuCI user; two other sites: one elsewhere, one on another
    port of the router's own address (browsers call that the same site, and send it strict cookies).
    """

    shop: Shop
    router: str
    sites: tuple[str, str]
    sid: str

    def sold(self) -> int:
        return sum(1 for _ in self.shop.stripe.account.newest_first("checkout.session"))


@contextlib.asynccontextmanager
async def _stage(cases: Cases) -> AsyncIterator[_Stage]:
    async with open_shop(cases.folder) as shop, front_of(shop.harness) as router:

        async def serve(request: web.Request) -> web.Response:
            del request
            text = OTHER_SITE.read_text().replace("@ROUTER@", router).replace("@PRICE@", ONETIME)
            return web.Response(text=text, content_type="text/html")

        application = web.Application()
        application.router.add_route("GET", "/{rest:.*}", serve)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            port = runner.addresses[0][1]
            sites = (f"http://localhost:{port}/", f"http://127.0.0.1:{port}/")
            yield _Stage(shop, router, sites, await shop.harness.login())
        finally:
            await runner.cleanup()


async def other_sites(cases: Cases) -> None:
    """The victim's browser has the router's cookie. Whatever page it opens elsewhere, nothing is bought and
    no session ends; and the router's own page still can.
    """
    with listening() as complaints:
        async with _stage(cases) as stage, open_browser() as browser:
            every = [(site, trick) for trick in await _tricks(browser, stage) for site in stage.sites]
            for site, trick in cases.some(every):
                problem = await _victim(browser, stage, site, trick)
                where = "another host" if site.startswith("http://localhost") else "another port"
                cases.note(problem or complaints.taken(), f"{trick}, on {where}")
            visitor = await open_visitor(browser)
            await _log_in(visitor.page, stage)
            before = stage.sold()
            status = await visitor.page.evaluate(_BUY, _ORDER)
            right = status == 200 and stage.sold() == before + 1
            cases.note(None if right else f"answered {status}", "the router's own page")
            await visitor.context.close()


_BUY = f"""order => fetch('{CREATE}', {{
	method: 'POST', headers: {{ 'Content-Type': 'application/json' }}, body: order
}}).then(answer => answer.status)"""


_HAND_OVER = f"""sid => fetch('{SESSION}', {{
	method: 'POST', headers: {{ Authorization: `Bearer ${{sid}}` }}
}}).then(answer => answer.status)"""


async def _log_in(page: Page, stage: _Stage) -> None:
    """As the LuCI application does it: the cookie for /api/payments."""
    await page.goto(f"{stage.router}/payment-cancel")
    if await page.evaluate(_HAND_OVER, stage.sid) != 200:
        raise RuntimeError("the victim could not log in")


async def _tricks(browser: Browser, stage: _Stage) -> list[str]:
    page = await browser.new_page()
    await page.goto(stage.sites[0])
    names: list[str] = await page.evaluate("Object.keys(TRICKS)")
    await page.close()
    return names


async def _victim(browser: Browser, stage: _Stage, site: str, trick: str) -> str | None:
    visitor = await open_visitor(browser)
    try:
        await _log_in(visitor.page, stage)
        before = stage.sold()
        await visitor.page.goto(site)
        with contextlib.suppress(BrowserError):  # the page may be gone by then
            await visitor.page.evaluate("async name => { await TRICKS[name](); }", trick)
        await visitor.page.wait_for_timeout(150)
        with contextlib.suppress(BrowserError):
            await visitor.page.wait_for_load_state()
        if stage.sold() != before:
            return "a purchase was begun"
        cookies = await visitor.context.cookies(stage.router + CREATE)
        if [one.get("value") for one in cookies if one.get("name") == COOKIE] != [stage.sid]:
            return f"the victim's cookie is {cookies}"
        return None
    finally:
        await visitor.context.close()


async def outcome_pages(cases: Cases) -> None:
    """The way back from Stripe with hostile titles, in a browser: nothing runs, nothing is framed."""
    texts = [" ".join(MARKUP), *(MARKUP if cases.count >= len(MARKUP) else ())]
    async with _stage(cases) as stage, open_browser() as browser:
        session_id = await stage.shop.checkout()
        stage.shop.stripe.pay(session_id)
        parts = await stage.shop.harness.parts()
        assert stage.shop.harness.service is not None
        visitor = await open_visitor(browser, "it-IT")
        watch = Watch(visitor.page, stage.router)
        for text in texts:
            names = dict.fromkeys(("title", "title_it", "feature", "feature_it", "description"), text)
            settings = titled(parts.settings(), names)
            stage.shop.harness.service.gate.open(replace(parts, settings=lambda held=settings: held))  # type: ignore[misc]
            for query in (
                f"session_id={session_id}",
                f"session_id={quote(text[:300])}&locale={quote(text[:300])}",
            ):
                await visitor.page.goto(f"{stage.router}/payment-success?{query}")
                await visitor.page.wait_for_selector("#outcome")
                cases.note(
                    await trespasses(visitor.page, watch, visitor.complaints[:0]),
                    f"{query[:20]} {text[:60]!r}",
                )
        await visitor.page.goto(stage.sites[0])
        framed = """async address => {
			const frame = document.createElement('iframe');
			frame.src = address;
			document.body.append(frame);
			await new Promise(resolve => frame.addEventListener('load', resolve));
			return frame.contentWindow.length;
		}"""
        await visitor.page.evaluate(framed, f"{stage.router}/payment-success?session_id={session_id}")
        inside = [frame for frame in visitor.page.frames if frame.url.startswith(stage.router)]
        shown = [await frame.query_selector("#outcome") for frame in inside]
        cases.note("it was shown in a frame" if any(shown) else None, "framed by another site")
        await visitor.context.close()


async def addresses(cases: Cases) -> None:
    """Return addresses that were accepted, as a browser reads them: each is of an origin that is allowed."""
    accepted: dict[str, str] = {}
    for _ in range(cases.count * 50):
        text = invented(cases.chance)
        try:
            accepted[text] = resolve(
                Arguments({"url": text}).text("url") or "/", base=ALLOWED[0], allowed_origins=ALLOWED
            )
        except PaymentError:
            continue
    async with open_browser() as browser:
        visitor = await open_visitor(browser)
        read = "list => list.map(one => { try { return new URL(one).origin; } catch { return 'none'; } })"
        origins = await visitor.page.evaluate(read, list(accepted.values()))
        for (text, address), origin in zip(accepted.items(), origins, strict=True):
            cases.note(None if origin in ALLOWED else f"{address} is of {origin}", repr(text))
        await visitor.context.close()
