"""A router with a browser in front of it."""

import inspect
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from simulator.browser_front import BrowserFront
from simulator.router import Router, prepare_root
from simulator.ubus_broker import UbusBroker
from tests.daemon_starts import daemons_start_warm
from tests.luci.scripted_payments import ScriptedPayments
from ubus_py import Client

__all__ = ["daemons_start_warm"]

CHROMIUM = shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
"""The first draws no window around the pages, which takes more than a third of Chromium's processor time."""
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
PATIENCE_MS = 30_000
"""How long a page may take on a busy machine; nothing is timed."""

LOADED = "L.loaded || L.Request.poll?.active()"
"""LuCI has set itself up; that of 24.10 has no `loaded`."""

LUCI_SRC = Path(os.environ["LUCI_SRC"]) if os.environ.get("LUCI_SRC") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all tests of this folder: they share one browser, which lives in it."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@dataclass
class ScriptedRouter:
    """A router whose daemon is a script."""

    front: BrowserFront
    payments: ScriptedPayments
    bus: Client

    bus_path: str = ""
    root: Path = Path("/nowhere")

    async def daemon_leaves(self) -> None:
        """Take the daemon's objects off the bus, as when it is killed."""
        await self.bus.close()

    async def daemon_comes(self) -> None:
        """Start the daemon (again)."""
        self.bus = Client(self.bus_path)
        await self.bus.start()
        await self.payments.publish(self.bus)


@asynccontextmanager
async def scripted_router(luci_src: Path | None = LUCI_SRC) -> AsyncIterator[ScriptedRouter]:
    """Bus, rpcd and web server, and the script that is the daemon."""
    with TemporaryDirectory(prefix="luci-") as folder:
        root, socket = Path(folder) / "root", Path(folder) / "ubus.sock"
        prepare_root(root)
        broker = UbusBroker(socket, root / "usr/share/acl.d")
        system = Router(socket, root)
        front = BrowserFront(socket, root, luci_src)
        await broker.start()
        await system.start()
        await front.start()
        scripted = ScriptedRouter(front, ScriptedPayments(), Client(str(socket)), str(socket), root)
        # `localhost` is another site than 127.0.0.1: as with Stripe, what is strictly same-site stays behind.
        scripted.payments.checkout_url = f"{front.url.replace('127.0.0.1', 'localhost')}/payment-success"
        await scripted.daemon_comes()
        try:
            yield scripted
        finally:
            await scripted.bus.close()
            await front.stop()
            await system.stop()
            await broker.stop()


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """A Chromium without a window."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        try:
            yield chromium
        finally:
            await chromium.close()


@pytest_asyncio.fixture(loop_scope="session")
async def router() -> AsyncIterator[ScriptedRouter]:
    async with scripted_router() as router:
        yield router


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as chromium:
        yield chromium


@dataclass
class Visitor:
    """A person at a browser; keeps what the pages complained about."""

    context: BrowserContext
    page: Page
    complaints: list[str]

    def complaints_about(self, url: str) -> list[str]:
        """What the pages of one site complained about."""
        return [complaint for complaint in self.complaints if url in complaint or "http" not in complaint]

    async def log_in(
        self,
        url: str,
        username: str = "root",
        path: str = "/admin/payments/shop",
        *,
        password: str = "router",
    ) -> None:
        """Open a LuCI page as a logged-in user (without waiting for the login form to be drawn)."""
        form: dict[str, str | float | bool] = {"luci_username": username, "luci_password": password}
        await self.context.request.post(f"{url}/cgi-bin/luci/", form=form, max_redirects=0)
        await self.page.goto(f"{url}/cgi-bin/luci{path}")

    async def use_login_form(
        self, url: str, username: str = "root", path: str = "/admin/payments/shop"
    ) -> None:
        """Open a LuCI page and log in on the way, as a person does."""
        await self.page.goto(f"{url}/cgi-bin/luci{path}")
        await self.page.fill("#luci_username", username)
        await self.page.fill("#luci_password", "router")
        self.complaints.clear()  # the login form itself comes with 403, as LuCI's does
        await self.page.click("button[type=submit], .cbi-button-positive")
        await self.page.wait_for_url(f"**{path}")


async def open_visitor(browser: Browser, locale: str = "en-GB", **options: object) -> Visitor:
    """Open a browser window of its own (no shared cookies)."""
    context = await browser.new_context(locale=locale, **options)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(f"{message.text} {message.location.get('url', '')}".strip())

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return Visitor(context, page, complaints)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def window(browser: Browser) -> AsyncIterator[Visitor]:
    """A browser window that one visitor leaves to the next: opening it costs more than most tests in it."""
    opened = await open_visitor(browser)
    yield opened
    await opened.context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(window: Visitor) -> AsyncIterator[Visitor]:
    """A person who has never been here: nothing of the last one's is left in the window."""
    window.complaints.clear()
    yield window
    for page in window.context.pages:
        if page is not window.page:
            await page.close()
    if window.page.url.startswith("http"):
        await window.page.wait_for_load_state()  # the test may have ended in the middle of a navigation
        await window.page.evaluate("localStorage.clear(); sessionStorage.clear()")
    await window.page.goto("about:blank")
    await window.context.clear_cookies()
