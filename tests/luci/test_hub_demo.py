"""`make hub-demo`, used as its banner says: the console of a vendor and the routers of two customers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from playwright.async_api import Browser, Locator, Page, expect
from psycopg.conninfo import conninfo_to_dict

from simulator.hub_processes import REPOSITORY
from tests.luci.conftest import PATIENCE_MS, Visitor, open_visitor
from ubus_py import Client, StatusError

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

PATIENCE_S: Final = 150.0
"""Nine processes start, beside other tests; nothing is timed."""
UNLOCKED: Final = ".sp-feature.unlocked"


@dataclass
class Demo:
    """The demo as a process, and what its JSON file says."""

    process: asyncio.subprocess.Process
    folder: Path
    described: dict[str, Any]

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncIterator[Demo]:
        folder = Path(tempfile.mkdtemp(prefix="demo-"))
        (folder / "tmp").mkdir()
        folder.chmod(0o755)  # PostgreSQL is not root
        path = os.pathsep.join(str(REPOSITORY / part) for part in ("", "daemon", "hub"))
        ports = [text for name in ("", "stripe-", "hub-", "console-") for text in (f"--{name}port", "0")]
        with (folder / "output").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "simulator.hub_demo", *ports),
                cwd=folder,
                env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder / "tmp")},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            file = folder / "build/hub-demo.json"
            async with asyncio.timeout(PATIENCE_S):
                while not file.exists():
                    assert process.returncode is None, (folder / "output").read_text()
                    await asyncio.sleep(0.05)
            yield cls(process, folder, json.loads(file.read_text()))
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
                await process.wait()
            shutil.rmtree(folder)

    async def end(self) -> None:
        """Ctrl-C: nothing is left."""
        database = Path(str(conninfo_to_dict(self.described["database"])["host"]))
        assert database.is_dir()
        started = _processes_of(self.folder) | _processes_of(database)
        assert len(started) > 8, "PostgreSQL, two instances, a worker, two daemons, and the demo itself"
        self.process.send_signal(signal.SIGINT)
        assert await self.process.wait() == 0, (self.folder / "output").read_text()
        async with asyncio.timeout(PATIENCE_S):
            while _processes_of(self.folder) | _processes_of(database):
                await asyncio.sleep(0.05)
        assert not database.exists()
        assert list((self.folder / "tmp").iterdir()) == []
        assert list((self.folder / "build").iterdir()) == []


def _processes_of(folder: Path) -> set[int]:
    """The processes that have the folder in their environment, command line or working directory."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            texts = [(process / name).read_bytes() for name in ("environ", "cmdline")]
            if any(bytes(folder) in text for text in texts) or folder in (process / "cwd").readlink().parents:
                found.add(int(process.name))
    return found


class Luci:
    """A customer at their router."""

    def __init__(self, visitor: Visitor, address: str) -> None:
        self.page = visitor.page
        self._visitor = visitor
        self._router = address.removesuffix("/cgi-bin/luci")

    async def open(self, name: str) -> Page:
        await self._visitor.log_in(self._router, path=f"/admin/payments/{name}")
        return self.page

    async def has(self, count: int) -> None:
        """Wait until My features, which is open, shows so many unlocked features."""
        await expect(self.page.locator(UNLOCKED)).to_have_count(count, timeout=2 * PATIENCE_MS)


class Console:
    """The vendor at the console."""

    def __init__(self, page: Page, demo: Demo) -> None:
        self.page = page
        self._address = demo.described["console"]
        self._login = demo.described["console_login"]

    async def log_in(self) -> None:
        await self.page.goto(self._address)
        await self.page.fill("#name", self._login["name"])
        await self.page.fill("#password", self._login["password"])
        await self.page.click("form.fields button")
        await expect(self.page.locator("#q")).to_be_visible()

    async def find(self, note: str, *, action: str = "revoke") -> None:
        """Open the page of the router with this note, again until it has an action: no page polls."""
        await self.page.goto(self._address)
        await self.page.fill("#q", note)
        await self.page.press("#q", "Enter")
        await self.page.click("tbody a")
        await expect(self.page.locator("h1")).to_contain_text(note)
        async with asyncio.timeout(PATIENCE_S):
            while not await self._link(action).count():
                await self.page.reload()

    def _link(self, action: str) -> Locator:
        return self.page.locator(f"main a[href*='/{action}']").first

    async def act(self, action: str, **fields: str) -> None:
        """An action on the router whose page is open, with what its form wants to know."""
        router = self.page.url.partition("?")[0].rpartition("/")[2]
        await self._link(action).click()
        for name, value in fields.items():
            await self.page.select_option(f"#{name}", value)
        confirm = self.page.locator("#confirm")
        if await confirm.count():
            await confirm.fill(router[:8])
        await self.page.click("form.fields button")
        await expect(self.page.locator(".notice.good")).to_be_visible()

    async def replace(self) -> str:
        """The code with which another router, or this one again, gets what the open router has."""
        await self._link("replace").click()
        await self.page.click("form.fields button")
        return await self.page.locator("p.code").inner_text()


@pytest.mark.timeout(480)
async def test_a_vendor_and_two_customers(browser: Browser) -> None:
    async with Demo.started() as demo:
        assert set(demo.described) == {*("hub", "console", "console_login", "stripe", "routers", "database")}
        assert [set(router) for router in demo.described["routers"]] == [{"luci", "socket", "router_id"}] * 2
        visitors = [await open_visitor(browser) for _ in range(3)]
        a, b = (
            Luci(visitor, router["luci"])
            for visitor, router in zip(visitors[:2], demo.described["routers"], strict=True)
        )
        console = Console(visitors[2].page, demo)
        try:
            await _use(demo, a, b, console)
        finally:
            for visitor in visitors:
                await visitor.context.close()
        await demo.end()


async def _use(demo: Demo, a: Luci, b: Luci, console: Console) -> None:
    await b.open("features")
    await b.has(0)
    await _buy_the_plan_in_the_shop(demo, a)
    await a.open("features")
    await a.has(4)
    await b.page.reload()
    await expect(b.page.locator(".sp-feature")).to_have_count(7)
    await b.has(0)

    await console.log_in()
    await console.find("router A", action="refund")  # Stripe's invoice may come after the subscription
    await expect(console.page.locator("body")).to_contain_text("Premium")
    await expect(console.page.locator(".badge.good", has_text="unlocked")).to_have_count(4)
    await console.act("refund")
    await a.has(0)  # within `poll_after`; nobody touches the page
    await expect(a.page.locator(".sp-feature.locked", has_text="refunded")).to_have_count(4)

    await console.find("router B")
    await console.act("grant", feature="monitoring_24_7")
    await b.has(1)
    await console.act("revoke")
    shop = await b.open("shop")
    await expect(shop.locator(".sp-notice.warning").first).to_contain_text(
        "The seller has blocked this router"
    )
    await expect(shop.locator("[data-offer=premium] [data-way=pay]")).to_be_disabled()
    await b.open("features")
    await b.has(1)

    await _buy_the_plan_again(demo)
    await a.has(4)
    await a.page.click("[data-action=recovery-code]")
    await a.page.click("[data-dialog=run]")
    shown = a.page.locator("[data-recovery=code]")
    await expect(shown).not_to_be_empty()
    code = await shown.inner_text()
    # a router that is blocked takes nothing over: the vendor has to let it in again first, with a new code
    assert await _refusal(demo, "recover", code=code) == "router_revoked"
    await a.has(4)
    await _enroll_again(demo, await console.replace())
    await b.page.reload()
    await b.has(1)
    await expect(b.page.locator("[data-action=recover]")).to_be_enabled()
    await b.page.click("[data-action=recover]")
    await b.page.fill("#sp-recovery-code", code)
    await b.page.click("[data-dialog=run]")
    await b.has(4)
    await expect(b.page.locator(".sp-subscription h4").first).to_have_text("Premium")
    await a.has(0)
    await expect(a.page.locator(".sp-notices")).to_contain_text("Another router has replaced this one")


async def _refusal(demo: Demo, method: str, **arguments: Any) -> str:
    """The error of a method that router B refuses."""
    async with Client(demo.described["routers"][1]["socket"]) as bus:
        with pytest.raises(StatusError) as raised:
            await bus.call("stripe-payments", method, arguments)
    data: Any = raised.value.data
    return str(data["error"]["code"])


async def _enroll_again(demo: Demo, code: str) -> None:
    """Router B gets another enrolment code from its vendor, on its shell."""
    values: Any = {"config": "stripe-payments", "section": "main", "values": {"hub_code": code}}
    async with Client(demo.described["routers"][1]["socket"]) as bus:
        await bus.call("uci", "set", values)
        await bus.call("uci", "commit", {"config": "stripe-payments"})
        async with asyncio.timeout(PATIENCE_S):
            problem: Any = ""
            while problem is not None:
                status: Any = await bus.call("stripe-payments", "status", {})
                problem = status["seller"]["problem"]
                await asyncio.sleep(0.1)


async def _buy_the_plan_in_the_shop(demo: Demo, a: Luci) -> None:
    page = await a.open("shop")
    await page.click("[data-offer=premium] [data-way=pay]")
    await page.wait_for_url(f"{demo.described['stripe']}/c/pay/**")
    await page.fill("input[name=card]", "4242424242424242")
    await page.click("#pay")
    await page.wait_for_url("**/payment-success?**")
    await expect(page.locator("#outcome")).to_have_attribute("data-state", "paid")


async def _buy_the_plan_again(demo: Demo) -> None:
    """On router A over its bus: what was refunded ends, and the plan is bought once more."""
    async with Client(demo.described["routers"][0]["socket"]) as bus:
        found: Any = await bus.call("stripe-payments", "subscriptions", {})
        ended = {"subscription": found["subscriptions"][0]["id"], "at_period_end": False}
        await bus.call("stripe-payments", "cancel_subscription", ended)
        origin = demo.described["routers"][0]["luci"].removesuffix("/cgi-bin/luci")
        wanted = {
            "price_id": "price_premium_monthly",
            "success_url": f"{origin}/payment-success",
            "cancel_url": f"{origin}/payment-cancel",
        }
        session = (await bus.call("stripe-payments", "create_checkout_session", wanted))["session_id"]
    pay = f"{demo.described['stripe']}/_sim/checkout/{session}/pay"
    async with aiohttp.ClientSession() as http, http.post(pay, json={"card": "4242424242424242"}) as reply:
        assert reply.status == 200, await reply.text()
