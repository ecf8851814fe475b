"""The hosted pages over plain HTTP: what a browser without scripts sees and sends."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from .conftest import Shop


@pytest.fixture
async def browser(shop: Shop) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(shop.cloud.url) as http:
        yield http


async def text(browser: aiohttp.ClientSession, path: str, status: int = 200, language: str = "en") -> str:
    async with browser.get(path, headers={"Accept-Language": language}) as answer:
        assert answer.status == status
        return await answer.text()


async def send(browser: aiohttp.ClientSession, path: str, **form: str) -> tuple[int, str, str]:
    """(status, Location, text) without following."""
    async with browser.post(path, data=form, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()


async def test_paying_leads_to_the_success_address_with_the_session_id(
    shop: Shop, browser: aiohttp.ClientSession
) -> None:
    session = await shop.session(await shop.price(), locale="it")
    path = f"/c/pay/{session.id}"
    page = await text(browser, path)
    for expected in (
        "49,99\u00a0€",
        "Router OS Premium",
        'id="pay"',
        'name="card"',
        "Simulatore",
        "http://router.lan/payment-cancel",
    ):
        assert expected in page
    status, location, _ = await send(browser, path, card="4242424242424242", email="a@b.it")
    assert (status, location) == (303, f"http://router.lan/payment-success?session_id={session.id}")
    assert "Questo ordine è completo" in await text(browser, path)
    status, _, page = await send(browser, path, card="4242424242424242")
    assert status == 200
    assert "Questo ordine è completo" in page


async def test_a_decline_is_explained_in_the_buyers_language(
    shop: Shop, browser: aiohttp.ClientSession
) -> None:
    for locale, sentence in (("it", "La carta è stata rifiutata."), ("en", "Your card was declined.")):
        session = await shop.session(await shop.price(), locale=locale)
        status, _, page = await send(browser, f"/c/pay/{session.id}", card="4000000000000002")
        assert status == 200
        assert sentence in page
        assert 'value="4000000000000002"' in page


async def test_real_card_numbers_are_refused_and_nothing_is_echoed_as_markup(
    shop: Shop, browser: aiohttp.ClientSession
) -> None:
    session = await shop.session(await shop.price(name="<script>x</script>"))
    _, _, page = await send(browser, f"/c/pay/{session.id}", card='4111111111111111"><script>')
    assert "Only test cards" in page
    assert "<script>x" not in page
    assert '"><script>' not in page


async def test_three_d_secure_shows_a_challenge(shop: Shop, browser: aiohttp.ClientSession) -> None:
    session = await shop.session(await shop.price())
    path = f"/c/pay/{session.id}"
    status, location, _ = await send(browser, path, card="4000002500003155")
    assert (status, location) == (303, f"{path}/3ds")
    assert 'id="complete"' in await text(browser, location)
    status, _, page = await send(browser, location, result="fail")
    assert "unable to authenticate" in page
    # the form stands at the challenge's address, and a card that is chosen there is not thrown away
    assert re.findall(r'<form method="post" action="([^"]+)"', page) == [path]
    await send(browser, path, card="4000002500003155")
    status, location, _ = await send(browser, f"{path}/3ds", result="complete")
    assert (status, location) == (303, f"http://router.lan/payment-success?session_id={session.id}")


async def test_expired_and_unknown_sessions(shop: Shop, browser: aiohttp.ClientSession) -> None:
    session = await shop.session(await shop.price())
    shop.cloud.advance(2 * 86_400)
    assert "This page has expired" in await text(browser, f"/c/pay/{session.id}")
    await text(browser, "/c/pay/cs_test_none", 404)


async def test_auto_locale_follows_the_browser(shop: Shop, browser: aiohttp.ClientSession) -> None:
    session = await shop.session(await shop.price())
    assert "Paga con una carta" in await text(browser, f"/c/pay/{session.id}", language="it-IT,it;q=0.9")
    assert "Pay with a test card" in await text(browser, f"/c/pay/{session.id}", language="de")


async def test_promotion_codes_on_the_page(shop: Shop, browser: aiohttp.ClientSession) -> None:
    coupon = await shop.call(
        shop.client.v1.coupons.create, {"amount_off": 999, "currency": "eur", "duration": "once"}
    )
    await shop.call(
        shop.client.v1.promotion_codes.create,
        {"code": "LESS", "promotion": {"type": "coupon", "coupon": coupon.id}},
    )
    session = await shop.session(await shop.price(), allow_promotion_codes=True)
    _, _, page = await send(browser, f"/c/pay/{session.id}", action="code", promotion_code="wrong")
    assert "invalid" in page
    _, _, page = await send(browser, f"/c/pay/{session.id}", action="code", promotion_code="less")
    assert "€40.00" in page


async def test_receipts_and_invoices_resolve(shop: Shop, browser: aiohttp.ClientSession) -> None:
    sub_id = await shop.subscribe()
    sub = shop.cloud.account.get("subscription", sub_id)
    invoice = shop.cloud.account.get("invoice", sub["latest_invoice"])
    charge = next(shop.cloud.account.newest_first("charge"))
    async with aiohttp.ClientSession() as http:
        for url in (charge["receipt_url"], invoice["hosted_invoice_url"]):
            async with http.get(url) as answer:
                assert answer.status == 200
                assert "4.99" in await answer.text()
        async with http.get(invoice["invoice_pdf"]) as answer:
            assert answer.content_type == "application/pdf"
            assert (await answer.read()).startswith(b"%PDF-1.4")
    await text(browser, "/receipts/ch_none", 404)


async def test_the_portal_page(shop: Shop, browser: aiohttp.ClientSession) -> None:
    sub_id = await shop.subscribe(card="4000000000000341")
    sub = shop.cloud.account.get("subscription", sub_id)
    session = await shop.call(
        shop.client.v1.billing_portal.sessions.create,
        {"customer": sub["customer"], "return_url": "http://router.lan/shop", "locale": "it"},
    )
    path = f"/p/session/{session.id}"
    page = await text(browser, path)
    assert "Abbonamento" in page
    assert "http://router.lan/shop" in page
    await send(browser, path, action="cancel", subscription=sub_id)
    assert sub["cancel_at"] is not None
    await send(browser, path, action="keep", subscription=sub_id)
    assert sub["cancel_at"] is None
    shop.cloud.advance(32 * 86_400)
    session = await shop.call(shop.client.v1.billing_portal.sessions.create, {"customer": sub["customer"]})
    path = f"/p/session/{session.id}"
    assert sub["status"] == "past_due"
    _, _, page = await send(browser, path, action="pay")
    assert "declined" in page
    _, _, page = await send(browser, path, action="card", card="4000000000000002")
    assert "declined" in page
    await send(browser, path, action="card", card="4242424242424242")
    await send(browser, path, action="pay")
    assert sub["status"] == "active"
    await text(browser, "/p/session/none", 404)
    shop.cloud.advance(2 * 86_400)
    await text(browser, path, 410)


async def test_the_portal_offers_what_its_configuration_has(
    shop: Shop, browser: aiohttp.ClientSession
) -> None:
    sub_id = await shop.subscribe()
    sub = shop.cloud.account.get("subscription", sub_id)
    configurations = shop.client.v1.billing_portal.configurations
    lasting: Any = {"enabled": True}
    error = await shop.refused(configurations.create, {"features": {"subscription_pause": lasting}})
    assert error.http_status == 501
    pausing: Any = {"features": {"subscription_pause": {**lasting, "duration": {"type": "indefinite"}}}}
    configuration = await shop.call(configurations.create, pausing)
    session = await shop.call(
        shop.client.v1.billing_portal.sessions.create,
        {"customer": sub["customer"], "configuration": configuration.id},
    )
    path = f"/p/session/{session.id}"
    page = await text(browser, path)
    assert ('id="pause"' in page, 'id="cancel"' in page, 'id="save"' in page) == (True, False, False)
    await send(browser, path, action="cancel", subscription=sub_id)
    assert sub["cancel_at"] is None
    await send(browser, path, action="pause", subscription=sub_id)
    assert (sub["status"], sub["status_details"]["paused"]["subscription"]["type"]) == (
        "paused",
        "pause_requested",
    )
    assert "customer.subscription.paused" in shop.event_types()
    await send(browser, path, action="resume", subscription=sub_id)
    assert sub["status"] == "active"


async def test_the_start_page_lists_what_happened(shop: Shop, browser: aiohttp.ClientSession) -> None:
    assert "none yet" in await text(browser, "/")
    await shop.subscribe()
    page = await text(browser, "/?lang=it")
    for expected in ("Simulatore di Stripe", "complete, paid", "/v1/checkout/sessions", "active"):
        assert expected in page


class Console:
    """The start page, as a person uses it: every button that it shows can be pressed."""

    def __init__(self, browser: aiohttp.ClientSession) -> None:
        self._browser = browser

    async def buttons(self) -> dict[str, Any]:
        """Label → its requests; of several with one label the first."""
        found: dict[str, Any] = {}
        page = await text(self._browser, "/")
        for steps, label in re.findall(r'data-steps="([^"]*)"[^>]*>([^<]*)<', page):
            found.setdefault(html.unescape(label), json.loads(html.unescape(steps)))
        return found

    async def press(self, label: str) -> None:
        for path, body in (await self.buttons())[label]:
            async with self._browser.post(f"/_sim/{path}", json=body) as answer:
                assert answer.status == 200, await answer.text()


async def test_every_situation_is_a_button(shop: Shop, browser: aiohttp.ClientSession) -> None:
    console, account = Console(browser), shop.cloud.account
    sub = account.get("subscription", await shop.subscribe())

    def newest(kind: str) -> Any:
        return next(account.newest_first(kind))

    await console.press("refund half")
    assert newest("charge")["amount_refunded"] == 249
    await console.press("refund")
    assert newest("charge")["refunded"] is True
    await console.press("refund fails")
    assert newest("refund")["status"] == "failed"
    await console.press("inquiry")
    await console.press("inquiry ends")
    assert newest("dispute")["status"] == "warning_closed"
    for outcome in ("won", "lost"):
        await console.press("renewal is paid")
        assert sub["status"] == "active"
        await console.press("dispute")
        await console.press(f"dispute is {outcome}")
        assert newest("dispute")["status"] == outcome
    await console.press("renewal fails")
    assert sub["status"] == "past_due"
    await console.press("pause")
    assert sub["status"] == "paused"

    for label, card, status in (
        ("debit is paid", "bank_debit", "paid"),
        ("debit fails", "bank_debit", "unpaid"),
    ):
        session = await shop.session(await shop.price())
        shop.cloud.pay(session.id, card=card)
        await console.press(label)
        assert account.get("checkout.session", session.id)["payment_status"] == status
    session = await shop.session(await shop.price())
    await console.press("let it expire")
    assert account.get("checkout.session", session.id)["status"] == "expired"

    await console.press("revoked")
    error = await shop.refused(shop.client.v1.customers.list)
    assert "Expired API Key" in str(error)
    await console.press("valid")
    await shop.customer()
    await console.press("server error (500)")
    error = await shop.refused(shop.client.v1.customers.list)
    assert error.http_status == 500
    await console.press("works")
    await shop.customer()


async def test_no_button_of_the_console_is_refused(shop: Shop, browser: aiohttp.ClientSession) -> None:
    """Also those of settings, faults and the clock, each pressed once as it comes."""
    console = Console(browser)
    await shop.subscribe()
    async with browser.post("/_sim/webhooks", json={"url": "http://127.0.0.1:9/"}):
        pass
    await console.press("lost")
    await shop.session(await shop.price())
    await shop.subscribe()
    pressed: set[str] = set()
    while left := (await console.buttons()).keys() - pressed:
        label = sorted(left)[0]
        await console.press(label)
        pressed.add(label)
    assert {"deliver", "duplicated", "reordered", "+1 year", "unpaid", "22 %", "resume"} <= pressed
