"""Takes the pictures of the pages that README and docs show: ``python -m tests.luci.screenshots [NAME…]``.

Writes ``docs/images/NAME.png`` (English) and ``NAME.it.png`` (Italian) of a simulated router with the shipped
daemon: a script, not a test, since a picture is to be looked at. ``LUCI_SRC`` would show LuCI's own theme;
the pictures in the repository are taken without it.
"""

import argparse
import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

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
    scheme: str = "light"


async def _shop(page: Page) -> None:
    await expect(page.locator(".sp-card")).to_have_count(4, timeout=PATIENCE_MS)


PICTURES = (Picture("shop", "/admin/payments/shop", _shop),)


async def _take(browser: Browser, world: World, picture: Picture, suffix: str, locale: str) -> None:
    visitor = await open_visitor(
        browser,
        locale,
        color_scheme=picture.scheme,
        viewport={"width": picture.width, "height": 700},
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


async def _take_all(names: list[str]) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with World(luci_src=LUCI_SRC) as world, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        try:
            for picture in PICTURES:
                for suffix, locale in LOCALES.items():
                    if not names or picture.name in names:
                        await _take(browser, world, picture, suffix, locale)
        finally:
            await browser.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="tests.luci.screenshots", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    asyncio.run(_take_all(parser.parse_args().names))


if __name__ == "__main__":
    main()
