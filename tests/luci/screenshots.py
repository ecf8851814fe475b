"""Takes the pictures of the pages that README and docs show: ``python -m tests.luci.screenshots [NAME…]``.

Writes ``docs/images/NAME.png`` (English) and ``NAME.it.png`` (Italian) of a simulated router with the shipped
daemon: a script, not a test, since a picture is to be looked at. ``LUCI_SRC`` would show LuCI's own theme;
the pictures in the repository are taken without it.
"""

import argparse
import asyncio
import io
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright, expect

from simulator.world import World
from tests.luci.conftest import CHROMIUM, CHROMIUM_FLAGS, LUCI_SRC, PATIENCE_MS, open_visitor

IMAGES = Path(__file__).resolve().parents[2] / "docs/images"
LOCALES = {"": "en-GB", ".it": "it-IT"}
LARGEST = 150_000
"""Bytes: pictures are cloned by everybody who clones the repository."""


@dataclass(frozen=True)
class Picture:
    """One page, the way it is to be seen."""

    name: str
    path: str
    ready: Callable[[Page], Awaitable[None]]
    width: int = 1280
    scheme: Literal["light", "dark"] = "light"
    languages: Sequence[str] = ("", ".it")


async def _shop(page: Page) -> None:
    await expect(page.locator(".sp-card")).to_have_count(4, timeout=PATIENCE_MS)
    await expect(page.locator("[data-preview=business]")).not_to_be_empty(timeout=PATIENCE_MS)


async def _features(page: Page) -> None:
    await expect(page.locator(".sp-subscription")).to_be_visible(timeout=PATIENCE_MS)


async def _transactions(page: Page) -> None:
    await expect(page.locator(".sp-spending")).to_be_visible(timeout=PATIENCE_MS)


async def _settings(page: Page) -> None:
    await page.click("[data-pane=catalog]")
    await page.get_by_role("button", name=re.compile("Check products|Verifica i prodotti")).click(
        timeout=PATIENCE_MS
    )
    await expect(page.locator("[data-provision]").first).to_be_visible(timeout=PATIENCE_MS)
    await expect(page.locator("[data-check]").first).to_be_attached(timeout=PATIENCE_MS)


async def _widget(page: Page) -> None:
    await expect(page.locator(".sp-widget .sp-plan")).to_be_visible(timeout=PATIENCE_MS)


NEW = (Picture("settings", "/admin/payments/settings", _settings),)
"""Of a router that is a minute old: the simulator's clock is still everybody's."""

USED = (
    Picture("shop", "/admin/payments/shop", _shop),
    Picture("features", "/admin/payments/features", _features),
    Picture("transactions", "/admin/payments/transactions", _transactions),
    Picture("widget", "/admin/status/overview", _widget, width=900),
    Picture("shop-dark", "/admin/payments/shop", _shop, scheme="dark", languages=("",)),
    Picture("features-phone", "/admin/payments/features", _features, width=375, languages=("",)),
)


async def _live_half_a_year(world: World) -> None:
    """Base for some months, then Premium: so that the pages have something to show."""
    reply = await world.bus.call(
        "stripe-payments", "create_checkout_session", {"price_id": "price_base_monthly"}
    )
    await world.pay(str(reply["session_id"]))
    await world.wait_until(lambda: world.unlocked("security_updates"))
    for _ in range(5):
        await world.control("clock/advance", {"seconds": 31 * 86400})
    (subscription,) = [
        one["id"]
        for one in (await world.account.request("GET", "subscriptions", limit=1))["data"]
        if one["status"] == "active"
    ]
    await world.bus.call("stripe-payments", "sync", {})
    await world.bus.call(
        "stripe-payments", "change_plan", {"subscription": subscription, "price_id": "price_premium_monthly"}
    )
    await world.wait_until(lambda: world.unlocked("remote_backup_daily"))


async def _take(browser: Browser, world: World, picture: Picture, suffix: str, locale: str) -> None:
    visitor = await open_visitor(
        browser,
        locale,
        color_scheme=picture.scheme,
        viewport={"width": picture.width, "height": 420 if picture.name == "widget" else 700},
        reduced_motion="reduce",
    )
    try:
        await visitor.log_in(world.front.url, path=picture.path)
        await picture.ready(visitor.page)
        await visitor.page.evaluate("document.activeElement?.blur()")
        _save(IMAGES / f"{picture.name}{suffix}.png", await visitor.page.screenshot(full_page=True))
    finally:
        await visitor.context.close()


def _save(file: Path, png: bytes) -> None:
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(192, dither=Image.Dither.NONE)
    picture.save(file, optimize=True)
    if file.stat().st_size > LARGEST:
        raise SystemExit(f"{file.name} has {file.stat().st_size} bytes, more than {LARGEST}")


async def _take_those(pictures: Sequence[Picture], names: list[str], browser: Browser, world: World) -> None:
    for picture in pictures:
        for suffix in picture.languages:
            if not names or picture.name in names:
                await _take(browser, world, picture, suffix, LOCALES[suffix])


async def _take_all(names: list[str]) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with World(luci_src=LUCI_SRC) as world, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        try:
            await _take_those(NEW, names, browser, world)
            await _live_half_a_year(world)
            await _take_those(USED, names, browser, world)
        finally:
            await browser.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="tests.luci.screenshots", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    asyncio.run(_take_all(parser.parse_args().names))


if __name__ == "__main__":
    main()
