"""The pages that Stripe redirects the buyer to, parsed as HTML."""

import re
from html.parser import HTMLParser

import pytest

from tests.unit.stripe_payments.harness import FEATURE, ONETIME, Harness, Reply, Shop


class Page(HTMLParser):
    """A parsed page."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._hidden = 0
        self.feed(reply.body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._hidden += tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += f" {data.strip()}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def named(self, name: str) -> dict[str, str | None]:
        (found,) = [attributes for _, attributes in self.elements if attributes.get("id") == name]
        return found

    @property
    def state(self) -> str | None:
        return self.named("outcome")["data-state"]

    @property
    def language(self) -> str | None:
        return self.all("html")[0]["lang"]


async def page(
    harness: Harness, session_id: str = "", path: str = "/payment-success", **headers: str
) -> Page:
    query = f"session_id={session_id}" if session_id else ""
    return Page(await harness.http("GET", path, query=query, **headers))


async def test_a_paid_purchase(shop: Shop) -> None:
    session_id = await shop.buy()
    for path in ("/payment-success", "/api/payments/payment-success", "/payment-cancel"):
        shown = await page(shop.harness, session_id, path)
        assert (shown.reply.status, shown.state) == (200, "paid")
    assert "Router OS Premium" in shown.text
    assert "49.99 EUR" in shown.text
    (amount,) = shown.all("data")
    assert (amount["value"], amount["data-currency"]) == ("49.99", "EUR")
    (paid_at,) = shown.all("time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", paid_at["datetime"] or "")
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", shown.text)
    assert FEATURE in {item.get("data-feature") for item in shown.all("li")}
    assert shown.named("shop")["href"] == "/cgi-bin/luci/admin/payments/shop"
    assert shown.named("features")["href"] == "/cgi-bin/luci/admin/payments/features"
    assert shown.named("outcome")["data-follow"] == "0"
    assert not [meta for meta in shown.all("meta") if meta.get("http-equiv")]


async def test_buyers_see_who_sells(shop: Shop) -> None:
    """On the return page, Stripe's payment page and portal, and in receipts."""
    pages = {one: f"https://seller.example/{one}" for one in ("support", "terms", "privacy")}
    await shop.harness.configure(
        "main", seller="Example <Networks>", **{f"{one}_url": url for one, url in pages.items()}
    )
    contact = (await shop.harness.call("status"))["contact"]
    assert contact == {"name": "Example <Networks>"} | {f"{one}_url": url for one, url in pages.items()}
    session_id = await shop.checkout(locale="it")
    session = shop.stripe.account.get("checkout.session", session_id)
    assert session["custom_text"]["submit"]["message"] == (
        f"Venduto da Example <Networks>. [Assistenza]({pages['support']}) "
        f"[Condizioni di servizio]({pages['terms']}) [Informativa sulla privacy]({pages['privacy']})"
    )
    shown = await page(shop.harness, session_id)
    assert "Example <Networks>" in shown.text
    assert {link["href"] for link in shown.all("a")} >= set(pages.values())
    shop.stripe.pay(session_id)
    await shop.harness.call("sync")
    (intent,) = shop.stripe.account.newest_first("payment_intent")
    assert intent["description"] == "Router OS Premium (Example <Networks>)"
    (customer,) = shop.stripe.account.newest_first("customer")
    assert customer["description"].startswith("Example <Networks> ")
    for _ in range(2):
        await shop.harness.call("portal")
    (configuration,) = shop.stripe.account.newest_first("billing_portal.configuration")
    assert configuration["business_profile"] == {
        "headline": "Example <Networks>",
        "privacy_policy_url": pages["privacy"],
        "terms_of_service_url": pages["terms"],
    }


async def test_a_page_shows_what_was_charged_in_the_buyers_currency(shop: Shop) -> None:
    """Adaptive Pricing: Stripe's page converts the price."""
    session_id = await shop.checkout()
    shop.stripe.pay(session_id)
    (intent,) = shop.stripe.account.newest_first("payment_intent")
    with shop.stripe.account.changing(intent, None):
        intent["presentment_details"] = {"presentment_amount": 5899, "presentment_currency": "usd"}
    shown = await page(shop.harness, session_id)
    (amount,) = shown.all("data")
    assert (amount["value"], amount["data-currency"]) == ("58.99", "USD")


async def test_opening_the_page_fetches_the_payment(shop: Shop) -> None:
    """Without a webhook, and before the next poll."""
    session_id = await shop.checkout()
    shop.stripe.pay(session_id)
    assert (await page(shop.harness, session_id)).state == "paid"


async def test_a_page_opened_before_the_payment_links_to_it(shop: Shop) -> None:
    session_id = await shop.checkout()
    shown = await page(shop.harness, session_id)
    assert shown.state == "open"
    assert shown.named("continue")["href"] == f"{shop.stripe.url}/c/pay/{session_id}"
    assert shown.named("outcome")["data-status-url"] == f"/api/payments/status/{session_id}"
    assert int(shown.named("outcome")["data-follow"] or 0) > 0


async def test_a_declined_card_is_explained(shop: Shop) -> None:
    session_id = await shop.checkout()
    shop.stripe.pay(session_id, card="4000000000000002")
    english = await page(shop.harness, session_id)
    italian = await page(shop.harness, session_id, accept_language="it")
    assert english.state == "open"
    assert "declined" in english.text
    assert "rifiutato" in italian.text


async def test_a_bank_debit_is_pending(shop: Shop) -> None:
    session_id = await shop.checkout()
    shop.stripe.pay(session_id, card="bank_debit")
    shown = await page(shop.harness, session_id)
    assert shown.state == "pending"
    assert "bank" in shown.text


async def test_leaving_the_checkout_shows_canceled(shop: Shop) -> None:
    session_id = await shop.checkout()
    shown = await page(shop.harness, session_id, "/payment-cancel")
    assert shown.state == "canceled"
    assert "you were not charged" in shown.text
    plain = await page(shop.harness, path="/payment-cancel", accept_language="it-IT")
    assert (plain.reply.status, plain.state, plain.language) == (200, "canceled", "it")
    assert "non ti è stato addebitato nulla" in plain.text


async def test_an_expired_session(shop: Shop) -> None:
    session_id = await shop.checkout()
    await shop.account.request("POST", f"checkout/sessions/{session_id}/expire")
    assert (await page(shop.harness, session_id)).state == "expired"


async def test_without_stripe_the_page_polls(harness: Harness) -> None:
    await harness.call("set_keys", secret_key="sk_test_51ForTheMode")
    await harness.add_checkout("cs_test_1")
    await harness.refusal("sync")
    shown = await page(harness, "cs_test_1")
    assert (shown.reply.status, shown.state) == (200, "waiting")
    assert "cannot reach Stripe" in shown.text
    assert shown.all("noscript")
    (refresh,) = [meta for meta in shown.all("meta") if meta.get("http-equiv") == "refresh"]
    assert int(refresh["content"] or 0) >= 5
    live = [attributes for _, attributes in shown.elements if attributes.get("aria-live")]
    assert live
    assert live[0]["role"] == "status"


@pytest.mark.parametrize("session_id", ["", "cs_test_nobodys", "pi_1", "<script>", "x" * 3000])
async def test_an_unknown_payment(harness: Harness, session_id: str) -> None:
    shown = await page(harness, session_id)
    assert (shown.reply.status, shown.state) == (404, "unknown")
    assert "<script>" not in shown.reply.body


@pytest.mark.parametrize(
    ("query", "locale", "accept", "expected"),
    [
        ("&locale=it", "en", "en", "it"),
        ("", "it", "en", "it"),
        ("", "auto", "it-IT,en;q=0.5", "it"),
        ("", "auto", "de,fr", "en"),
        ("", "de", "it", "it"),
        ("&locale=tlh", "auto", "", "en"),
    ],
)
async def test_the_language_is_the_buyers(
    harness: Harness, query: str, locale: str, accept: str, expected: str
) -> None:
    await harness.add_checkout("cs_test_1", locale=locale)
    reply = await harness.http(
        "GET", "/payment-success", query=f"session_id=cs_test_1{query}", accept_language=accept
    )
    assert Page(reply).language == expected
    assert reply.headers["Content-Language"] == expected


async def test_titles_of_the_configuration_are_escaped(shop: Shop) -> None:
    hostile = '<img src=x onerror=alert(1)> & "Co" {item}'
    await shop.harness.configure("router_os_premium", title=hostile)
    await shop.harness.configure(FEATURE, title=hostile)
    shown = await page(shop.harness, await shop.buy())
    assert shown.state == "paid"
    assert not shown.all("img")
    assert shown.text.count(hostile) == 2


async def test_a_page_loads_nothing_runs_only_its_script_and_cannot_be_framed(harness: Harness) -> None:
    await harness.add_checkout("cs_test_1")
    first, second = await page(harness, "cs_test_1"), await page(harness, "cs_test_1")
    headers = first.reply.headers
    policy = headers["Content-Security-Policy"]
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    (nonce,) = set(re.findall(r"'nonce-([^']+)'", policy))
    assert {element["nonce"] for tag in ("style", "script") for element in first.all(tag)} == {nonce}
    assert nonce not in second.reply.body
    for _, attributes in first.elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert not (attributes.get(name) or "").startswith(("http:", "//", "data:"))


async def test_on_the_internet_side_there_is_no_link_to_luci(harness: Harness) -> None:
    await harness.configure("main", public_url="https://pay.example.net", listen=["0.0.0.0:8443"])
    outside = await page(harness, "cs_x", host="pay.example.net", x_forwarded_proto="https")
    assert not outside.all("a")
    assert (await page(harness, "cs_x")).named("shop")["href"]


async def test_the_page_uses_the_language_and_title_of_the_order(shop: Shop) -> None:
    session_id = await shop.checkout(locale="it")
    shop.stripe.pay(session_id)
    shown = await page(shop.harness, session_id)
    assert shown.language == "it"
    assert "Importo 49.99 EUR" in " ".join(shown.text.split())
    assert ONETIME not in shown.text
