"""Transactions: table, paging, filters, chart, refunds, CSV."""

import asyncio
import csv
import io
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.luci.conftest import PATIENCE_MS, ScriptedRouter, Visitor, open_visitor
from ubus_py import Status

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

PATH = "/admin/payments/transactions"
ROWS = "[data-transaction]"
RUN = "[data-dialog=run]"


def _row(number: int, **changes: object) -> dict[str, object]:
    return {
        "id": f"pi_{number:03}",
        "date": f"2026-{12 - number // 28:02}-{28 - number % 28:02}T12:00:00Z",
        "kind": "payment",
        "amount": 4999,
        "currency": "eur",
        "status": "paid",
        "description": "Router OS Premium",
        "receipt_url": "https://pay.stripe.com/receipts/1",
        "invoice_pdf": None,
        **changes,
    }


async def _open(router: ScriptedRouter, visitor: Visitor, username: str = "root") -> Page:
    await visitor.log_in(router.front.url, username, PATH)
    await expect(visitor.page.locator(".sp-page h2")).to_be_visible()
    return visitor.page


async def test_nothing_paid_yet(router: ScriptedRouter, visitor: Visitor) -> None:
    page = await _open(router, visitor)
    await expect(page.get_by_text("No payments yet.")).to_be_visible()
    await expect(page.locator(".sp-spending")).to_have_count(0)
    assert visitor.complaints == []


async def test_rows_are_as_the_reader_writes_and_lead_to_documents(
    router: ScriptedRouter, browser: Browser
) -> None:
    router.payments.transactions = [
        _row(0, kind="invoice", invoice_pdf="https://pay.stripe.com/i.pdf"),
        _row(1, kind="refund", amount=-1250, status="succeeded", receipt_url="javascript:alert(1)"),
        _row(2, amount=1200, currency="jpy", status="failed", receipt_url=None),
        _row(3, amount=499950, currency="huf", receipt_url=None),
        _row(4, amount=500000, currency="ugx", receipt_url=None),
        _row(5, amount=150000050, currency="idr", receipt_url=None),
        _row(6, receipt_url=None, presentment={"amount": 499950, "currency": "cop"}),
    ]
    english = ["€49.99", "-€12.50", "JP¥1,200", "HUF 4,999.50", "UGX 5,000"]
    italian = ["49,99 €", "-12,50 €", "1200 JPY", "4999,50 HUF", "5000 UGX"]
    for locale, date, amounts in (
        ("en-GB", "28 Dec 2026", [*english, "IDR 1,500,000.50", "€49.99 (COP 4,999.50)"]),
        ("it-IT", "28 dic 2026", [*italian, "1.500.000,50 IDR", "49,99 € (4999,50 COP)"]),
    ):
        visitor = await open_visitor(browser, locale)
        page = await _open(router, visitor)
        await expect(page.locator(ROWS)).to_have_count(7)
        await expect(page.locator(f"{ROWS} .date >> nth=0")).to_have_text(date)
        shown = [re.sub(r"\s", " ", text) for text in await page.locator("td.amount").all_inner_texts()]
        assert shown == amounts
        links = [await link.get_attribute("href") for link in await page.locator(f"{ROWS} a").all()]
        assert links == ["https://pay.stripe.com/receipts/1", "https://pay.stripe.com/i.pdf"]
        await page.locator("[data-action=refund]").first.click()
        await expect(page.locator("#modal_overlay input")).to_have_value(amounts[0].strip("€ "))
        assert visitor.complaints == []
        await visitor.context.close()


async def test_what_was_not_paid_says_why(router: ScriptedRouter, visitor: Visitor) -> None:
    why = {"code": "card_declined", "message": "Insufficient funds. Use another card."}
    router.payments.transactions = [_row(0, status="failed", failure=why), _row(1)]
    page = await _open(router, visitor)
    await expect(page.locator("[data-transaction=pi_000] .state")).to_have_text(f"Failed{why['message']}")
    await expect(page.locator("[data-transaction=pi_001] .state")).to_have_text("Paid")


async def test_pages_and_filters(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.transactions = [_row(i, kind="invoice" if i % 30 == 0 else "payment") for i in range(130)]
    page = await _open(router, visitor)
    await expect(page.locator(ROWS)).to_have_count(20)
    for shown in (40, 60):
        await page.get_by_role("button", name="Show older").click()
        await expect(page.locator(ROWS)).to_have_count(shown)
    await page.get_by_label("Kind").focus()
    await page.get_by_label("Kind").select_option("invoice")
    await expect(page.locator(ROWS)).to_have_count(5)
    await expect(page.get_by_label("Kind")).to_be_focused()
    await page.get_by_label("Status").select_option("paid")
    await expect(page.locator(ROWS)).to_have_count(5)
    await page.get_by_label("Kind").select_option("")
    await expect(page.locator(ROWS)).to_have_count(20)
    ids = [await row.get_attribute("data-transaction") for row in await page.locator(ROWS).all()]
    assert ids == [f"pi_{i:03}" for i in range(20)]


async def test_a_button_stays_where_it_is_while_the_list_goes_on_being_read(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    """One that is replaced between the press and the release of a finger never hears of a click."""
    router.payments.transactions = [_row(i) for i in range(130)]
    released = asyncio.Event()

    async def hold_the_second_page(route: Route) -> None:
        if '"before":' in (route.request.post_data or ""):
            await released.wait()
        await route.continue_()

    await visitor.page.route("**/ubus/**", hold_the_second_page)
    page = await _open(router, visitor)
    older = await page.get_by_role("button", name="Show older").element_handle()
    assert older is not None
    await expect(page.get_by_role("status").get_by_text("20 shown")).to_be_visible()
    released.set()
    await expect(page.get_by_role("status").get_by_text("20 of 130 shown")).to_be_visible()
    assert await older.evaluate("button => button.isConnected")


async def test_a_new_payment_appears_by_itself(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.transactions = [_row(1)]
    page = await _open(router, visitor)
    await expect(page.locator(ROWS)).to_have_count(1)
    await page.evaluate("window.untouched = true")
    router.payments.transactions = [_row(0), _row(1, status="refunded")]
    await expect(page.locator(ROWS)).to_have_count(2)
    await expect(page.locator("[data-transaction=pi_001]")).to_contain_text("Refunded")
    assert await page.evaluate("window.untouched") is True


async def test_spending_by_month_never_adds_currencies_up(router: ScriptedRouter, visitor: Visitor) -> None:
    page = await _open(router, visitor)
    today = await page.evaluate("new Date().toISOString()")
    earlier = await page.evaluate("new Date(Date.now() - 800 * 864e5).toISOString()")
    router.payments.transactions = [
        _row(0, date=today),
        _row(1, date=today, kind="refund", status="succeeded", amount=-1000),
        _row(2, date=today, kind="invoice", status="unpaid", amount=700),
        _row(3, date=today, kind="dispute", status="won", amount=-4999),
        _row(4, date=today, amount=1200, currency="jpy"),
        _row(5, date=earlier, amount=99900),
    ]
    await expect(page.locator(".sp-spending")).to_have_count(2)
    euro = page.locator(".sp-spending[data-currency=eur]")
    await expect(euro.locator("figcaption strong")).to_have_text("€39.99")
    await expect(euro.get_by_role("img", name="Spending of the last twelve months: €39.99")).to_be_visible()
    await euro.get_by_text("Show as table").click()
    await expect(euro.locator("tbody tr")).to_have_count(12)
    await expect(euro.locator("tbody tr >> nth=11").locator("td")).to_have_text("€39.99")
    await expect(page.locator(".sp-spending[data-currency=jpy] figcaption strong")).to_have_text("JP¥1,200")
    router.payments.transactions = [
        _row(0, date=today, status="refunded"),
        _row(1, date=today, kind="refund", status="succeeded", amount=-4999),
    ]
    await page.reload()
    await expect(euro.locator("figcaption strong")).to_have_text("€0.00")
    axis, month = euro.locator("line.axis"), euro.locator("text.month").first
    bottom = await axis.get_attribute("y1")
    assert float(bottom or 0) + 6 == float(await month.get_attribute("y") or 0)
    assert visitor.complaints == []


async def test_a_refund_in_part(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.transactions = [_row(0), _row(1, kind="refund", amount=-1, status="succeeded")]
    router.payments.payment = {"status": "partially_refunded", "amount_refunded": 1000}
    page = await _open(router, visitor)
    await expect(page.locator("[data-action=refund]")).to_have_count(1)
    await page.click("[data-action=refund]")
    amount = page.get_by_label("Amount in EUR")
    await expect(amount).to_have_value("39.99")
    for wrong in ("40", "0", "abc", "1.234", "-1", ""):
        await amount.fill(wrong)
        await expect(page.locator(RUN)).to_be_disabled()
        await expect(page.locator("#sp-refund-effect")).to_have_text("Enter an amount from €0.01 to €39.99.")
    await amount.fill("12,50")
    await expect(page.locator(".sp-modal")).to_contain_text(
        "€12.50 will be refunded to the payer. Its features stay"
    )
    await page.get_by_label("Reason").select_option("duplicate")
    await page.dblclick(RUN)
    await expect(page.locator("[data-transaction=pi_000]")).to_contain_text("Partly refunded")
    await expect(page.locator(".sp-notice.success")).to_have_text("Refunded: €12.50.")
    assert router.payments.called("refund") == [
        {"payment_id": "pi_000", "amount": 1250, "reason": "duplicate"}
    ]
    assert visitor.complaints == []


async def test_a_refund_of_all_names_no_amount(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.transactions = [_row(0)]
    router.payments.refuse["refund"] = (
        Status.INVALID_ARGUMENT,
        {"code": "not_refundable", "message": "It is disputed.", "hint": "Wait."},
    )
    page = await _open(router, visitor)
    await page.click("[data-action=refund]")
    await expect(page.locator(".sp-modal")).to_contain_text(
        "Features unlocked only by this payment will lock."
    )
    await page.click(RUN)
    await expect(page.locator(".sp-modal [role=alert]")).to_have_text("It is disputed. Wait.")
    router.payments.refuse.clear()
    await page.click(RUN)
    await expect(page.locator("[data-transaction=pi_000]")).to_contain_text("Refunded")
    assert router.payments.called("refund")[-1] == {"payment_id": "pi_000", "reason": "requested_by_customer"}


async def test_only_administrators_are_shown_refunds(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.transactions = [_row(0)]
    page = await _open(router, visitor, "viewer")
    await expect(page.locator(ROWS)).to_have_count(1)
    await expect(page.locator("[data-action=refund]")).to_have_count(0)


async def test_on_a_managed_router_nobody_is_shown_refunds(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.transactions = [_row(0)]
    router.payments.status_extra["managed"] = True
    page = await _open(router, visitor)
    await expect(page.locator(ROWS)).to_have_count(1)
    await expect(page.locator("[data-action=refund]")).to_have_count(0)


async def test_the_file_holds_everything_and_no_formula(
    router: ScriptedRouter, visitor: Visitor, tmp_path: Path
) -> None:
    nasty = [
        '=HYPERLINK("http://x")',
        "+1",
        "-cmd|'/C calc'!A0",
        "@SUM(A1)",
        "\t=1",
        'say "hi", twice\nand again',
    ]
    router.payments.transactions = [
        _row(i, description=nasty[i % len(nasty)], amount=-499 if i == 1 else 4999) for i in range(230)
    ]
    page = await _open(router, visitor)
    await expect(page.locator(ROWS)).to_have_count(20)
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name="Download as CSV").click()
    file = tmp_path / "transactions.csv"
    await (await waiting.value).save_as(file)
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    heads, *rows = list(csv.reader(io.StringIO(file.read_text("utf-8-sig"), newline="")))
    assert heads[:6] == ["Date", "Item", "Kind", "Status", "Amount", "Currency"]
    assert len(rows) == 230
    assert rows[0][1] == """'=HYPERLINK("http://x")"""
    assert rows[1][4:6] == ["-4.99", "EUR"]
    assert rows[5][1] == nasty[5]
    assert not [cell for row in rows for cell in row if re.match(r"\s*[=+@]|\s*-(?![\d.]+$)", cell)]
    assert visitor.complaints == []
