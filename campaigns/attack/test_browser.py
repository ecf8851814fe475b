"""What a real browser makes of hostile texts and of other sites."""

import pytest

from campaigns.attack import browser_sites, luci_pages
from campaigns.attack.conftest import Short

pytestmark = pytest.mark.browser


async def test_luci_pages(short: Short) -> None:
    await short(luci_pages.pages, 1)


async def test_files(short: Short) -> None:
    await short(luci_pages.files, 400)


async def test_the_pages_after_paying(short: Short) -> None:
    await short(browser_sites.outcome_pages, 1)


async def test_other_sites(short: Short) -> None:
    await short(browser_sites.other_sites, 2)


async def test_return_addresses(short: Short) -> None:
    await short(browser_sites.addresses, 20)
