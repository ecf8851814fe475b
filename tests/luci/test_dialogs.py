"""What a screen reader has of every dialog: its accessibility tree, in both languages.

The trees are in `dialogs.en.txt` and `dialogs.it.txt`. After a change that is meant to be, run the tests with
WRITE_DIALOGS=1 and read the difference as a screen reader would say it.
"""

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, Page, expect

from tests.luci.conftest import PATIENCE_MS, ScriptedRouter, open_visitor
from tests.luci.scripted_payments import ScriptedPayments

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

PAID: Final = {
    "id": "pi_1",
    "date": "2031-04-30T10:00:00Z",
    "kind": "invoice",
    "amount": 499,
    "currency": "eur",
    "status": "paid",
    "description": "Premium",
    "receipt_url": None,
    "invoice_pdf": None,
}
ADDRESS: Final = re.compile(r"\n *- /url: .*")
"""Of links: they have the port of the test in them."""


def _in_use(payments: ScriptedPayments) -> None:
    payments.furnish()
    payments.transactions = [dict(PAID)]
    payments.preview |= {
        "next_payment": {"date": "2031-05-17T12:00:00Z", "amount": 499},
        "renewal_amount": 499,
    }
    payments.unlocked.add("remote_backup")
    payments.features["remote_backup"] = {
        "source": "manual",
        "reason": "granted",
        "until": None,
        "plan": None,
    }
    payments.trial = {"locks": ["Email support"], "mode": "live"}


def _ending(payments: ScriptedPayments) -> None:
    payments.subscribe("base", ends_at="2031-05-17T12:00:00Z", cancel_at_period_end=True)


def _bought_from_a_hub(payments: ScriptedPayments) -> None:
    payments.subscribe("base")
    payments.use_hub()


def _new_from_a_hub(payments: ScriptedPayments) -> None:
    payments.use_hub()


async def _key_is_entered(page: Page) -> None:
    await page.fill("#sp-key-secret_key", "sk_live_51abcdefghWXYZ")


DIALOGS: Final[list[tuple[str, Callable[[ScriptedPayments], None], str, list[str]]]] = [
    ("buy on a phone", _in_use, "shop", ["[data-offer=router_os_premium] [data-way=phone]"]),
    ("upgrade", _in_use, "shop", ["[data-offer=premium] [data-way=change]"]),
    ("choose a plan", _in_use, "features", ["[data-action=change]"]),
    ("cancel", _in_use, "features", ["[data-action=cancel]"]),
    ("grant", _in_use, "features", ["[data-feature=priority_support] [data-action=grant]"]),
    ("revoke", _in_use, "features", ["[data-feature=remote_backup] [data-action=revoke]"]),
    ("refund", _in_use, "transactions", ["[data-action=refund]"]),
    ("remove a key", _in_use, "settings", ["[data-pane=stripe]", "[data-focus=remove-secret_key]"]),
    ("replace a key", _in_use, "settings", ["[data-pane=stripe]", "key", "[data-focus=keys]"]),
    (
        "replace prices",
        _in_use,
        "settings",
        ["[data-pane=catalog]", "[data-focus=look]", "[data-focus=replace]"],
    ),
    ("resume", _ending, "features", ["[data-action=resume]"]),
    ("recovery code", _bought_from_a_hub, "features", ["[data-action=recovery-code]"]),
    ("enter a recovery code", _new_from_a_hub, "features", ["[data-action=recover]"]),
]
"""Name, what the router has, page, and what is clicked (`key`: one is entered)."""

STEPS: Final[dict[str, Callable[[Page], Awaitable[None]]]] = {"key": _key_is_entered}


async def _tree(page: Page) -> str:
    dialog = page.locator("#modal_overlay .sp-modal")
    await expect(dialog.get_by_role("button").first).to_be_visible()
    await expect(dialog.locator(".sp-cost .spinning")).to_have_count(0)
    return ADDRESS.sub("", await dialog.aria_snapshot())


@pytest.mark.parametrize("locale", ["en-GB", "it-IT"])
async def test_every_dialog_reads_well(router: ScriptedRouter, browser: Browser, locale: str) -> None:
    visitor = await open_visitor(browser, locale)
    page = visitor.page
    await visitor.log_in(router.front.url)
    trees = []
    for name, prepare, path, clicks in DIALOGS:
        fresh = ScriptedPayments(checkout_url=router.payments.checkout_url)
        router.payments.__dict__.update(fresh.__dict__)
        prepare(router.payments)
        await page.goto(f"{router.front.url}/cgi-bin/luci/admin/payments/{path}")
        for click in clicks:
            if click in STEPS:
                await STEPS[click](page)
            else:
                await page.click(click)
        trees.append(f"# {name}\n{await _tree(page)}\n")
    found = "\n".join(trees)
    expected = Path(__file__).with_name(f"dialogs.{locale[:2]}.txt")
    if os.environ.get("WRITE_DIALOGS"):
        expected.write_text(found, "utf-8")
    assert found == expected.read_text("utf-8")
    assert visitor.complaints == []
    await visitor.context.close()
