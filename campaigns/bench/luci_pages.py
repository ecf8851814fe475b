"""How long until a page of the LuCI app can be used, beside the page of luci-app-upnp on the same router.

On the real stack (OPENWRT_STAGING, LUCI_SRC; see tests/interop). Usable is a page once its main action is
enabled, counted by the browser from the start of the navigation. One browser opens the pages in turn: cold in
a window of its own right after the login, with empty caches, then a second time in the same tab, warm. The
order goes round, so that what the machine does besides falls on all pages alike; medians count.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright
from playwright.async_api import TimeoutError as Kept

from campaigns.report import Goal, Row
from tests.interop.packages import install_tree
from tests.interop.world import OpenWrtWorld, skip_reason
from tests.luci.conftest import CHROMIUM, CHROMIUM_FLAGS, PATIENCE_MS

ROUNDS: Final = 15
UPNP: Final = "luci-app-upnp"
UPNP_CONFIG: Final = (
    "config upnpd 'config'\n\toption enabled '0'\n\toption upnp_lease_file '/var/run/upnp.leases'\n"
)
BUILT: Final = 1_760_000_000
"""Seconds since 1970 (October 2025). Packages' files have the time of their build, and browsers keep a file
without Cache-Control for a tenth of its age; files that were just copied would be asked for at each visit.
"""
SETTLED_S: Final = 1.5
"""What a page does after it can be used is over by then."""
IDLE_S: Final = 20.0
POLL_S: Final = 5.0
"""Between two polls of an open page."""

WATCH: Final = """selectors => {
    const look = () => {
        if (window.usableAfter == null && selectors.every(selector => document.querySelector(selector)))
            window.usableAfter = performance.now();
    };
    new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
}"""
REQUESTS: Final = """() => performance.getEntriesByType('resource').filter(
    one => one.name.startsWith(`${location.origin}/ubus`) && one.startTime < window.usableAfter).length"""
"""To `/ubus`, before the page can be used."""
HIDE: Final = """() => {
    Object.defineProperty(document, 'hidden', { get: () => true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""


@dataclass
class _Visited:
    """A page, and what each visit measured. `main`: selectors that all match once it can be used."""

    name: str
    path: str
    main: tuple[str, ...]
    cold: list[float] = field(default_factory=list)
    """ms."""
    warm: list[float] = field(default_factory=list)
    """ms."""
    requests: list[int] = field(default_factory=list)
    """To `/ubus` before it can be used, in warm visits: a cold one has those of LuCI's setup, too."""

    async def open(self, page: Page, lan: str) -> float:
        """Opens it; ms until it can be used."""
        await page.goto(f"{lan}/cgi-bin/luci{self.path}", wait_until="commit")
        await page.wait_for_function("window.usableAfter != null")
        return float(await page.evaluate("window.usableAfter"))

    async def visit(self, context: BrowserContext, lan: str) -> None:
        """Cold, then warm."""
        await context.add_init_script(f"({WATCH})({json.dumps(self.main)})")
        page = await context.new_page()
        cold = await self.open(page, lan)
        await asyncio.sleep(SETTLED_S)
        warm = await self.open(page, lan)
        await asyncio.sleep(SETTLED_S)
        requests = int(await page.evaluate(REQUESTS))
        self.cold.append(cold)
        self.warm.append(warm)
        self.requests.append(requests)


SHOP: Final = "/admin/payments/shop"
SETTINGS: Final = "/admin/payments/settings"
SAVE: Final = ".cbi-page-actions .cbi-button-apply:not([disabled])"


def _pages() -> tuple[_Visited, ...]:
    return (
        _Visited("Shop", SHOP, ("[data-way=pay]:not([disabled])",)),
        _Visited("Settings", SETTINGS, ("[role=tab]", "[data-focus=keys]:not([disabled])")),
        _Visited("form of Settings", SETTINGS, (".sp-form .cbi-map", SAVE)),
        _Visited(UPNP, "/admin/services/upnp", (".cbi-map", SAVE)),
    )


class _RouterWithUpnp(OpenWrtWorld):
    """A router that sells, with another app beside ours."""

    def _install(self) -> None:
        source = Path(os.environ["LUCI_SRC"]) / "applications" / UPNP
        install_tree(source / "htdocs", self.root / "www")
        install_tree(source / "root", self.root)
        (self.root / "etc/config/upnpd").write_text(UPNP_CONFIG)
        super()._install()
        for path in (self.root / "www").rglob("*"):
            os.utime(path, (BUILT, BUILT))


async def measure(folder: Path) -> AsyncIterator[Row]:
    """Needs three minutes."""
    del folder
    if reason := skip_reason():
        yield Row("LuCI pages", reason=reason)
        return
    async with (
        _RouterWithUpnp(Path(os.environ["OPENWRT_STAGING"])) as world,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        try:
            async for row in _rows(browser, world.front.url):
                yield row
        finally:
            await browser.close()


async def _logged_in(browser: Browser, lan: str) -> BrowserContext:
    context = await browser.new_context(locale="en-GB")
    context.set_default_timeout(PATIENCE_MS)
    form: dict[str, str | float | bool] = {"luci_username": "root", "luci_password": "router"}
    await context.request.post(f"{lan}/cgi-bin/luci/", form=form, max_redirects=0)
    return context


async def _rows(browser: Browser, lan: str) -> AsyncIterator[Row]:
    pages = _pages()
    shop, settings, form, upnp = pages
    kept = await _visits(browser, lan, pages)
    for page, cold, warm in ((shop, 0.75, 0.8), (settings, 1.0, 1.0), (form, None, None)):
        for state, bound in (("cold", cold), ("warm", warm)):
            ours, theirs = median(getattr(page, state)), median(getattr(upnp, state))
            goal = Goal("<=", bound, of_baseline=True) if bound else None
            name = f"{page.name} until it can be used, {state}"
            yield Row(name, ours, "ms", goal, theirs, UPNP, f"visits that uhttpd kept waiting: {kept}")
    most = median(shop.requests)
    goal = Goal("<=", 2)
    yield Row("requests to /ubus before the Shop can be used", most, "", goal, median(upnp.requests), UPNP)
    requests, calls, hidden = await _idle(browser, lan, shop)
    polls = IDLE_S / POLL_S
    yield Row("requests to /ubus of an open Shop in 5 s", requests / polls, "", Goal("<=", 1))
    yield Row("calls in each of them", calls / requests, "", Goal("<=", 1))
    yield Row("requests to /ubus of a Shop in a hidden tab", float(hidden), "", Goal("<=", 0))


async def _visits(browser: Browser, lan: str, pages: tuple[_Visited, ...]) -> int:
    """All rounds. How many visits were given up: forked requests of LuCI share a connection to the bus, and
    sometimes one of them waits for 20 s for what another one has read.
    """
    kept = 0
    for number in range(ROUNDS + 1):
        for turn in range(len(pages)):
            page = pages[(number + turn) % len(pages)]
            context = await _logged_in(browser, lan)
            try:
                await page.visit(context, lan)
            except Kept:
                kept += 1
            await context.close()
        if number == 0:  # programs and files of the router are read for the first time
            for page in pages:
                page.cold.clear()
                page.warm.clear()
                page.requests.clear()
    return kept


async def _idle(browser: Browser, lan: str, shop: _Visited) -> tuple[int, int, int]:
    """Requests and calls while the Shop is open, and requests while its tab is hidden, in `IDLE_S` each."""
    context = await _logged_in(browser, lan)
    await context.add_init_script(f"({WATCH})({json.dumps(shop.main)})")
    page = await context.new_page()
    calls: list[int] = []

    def note(request: Request) -> None:
        if "/ubus" in request.url:
            body: Any = request.post_data_json
            calls.append(len(body) if isinstance(body, list) else 1)

    page.on("request", note)
    await shop.open(page, lan)
    await asyncio.sleep(SETTLED_S)
    calls.clear()
    await asyncio.sleep(IDLE_S)
    shown = list(calls)
    await page.evaluate(HIDE)
    await asyncio.sleep(SETTLED_S)
    calls.clear()
    await asyncio.sleep(IDLE_S)
    await context.close()
    return len(shown), sum(shown), len(calls)
