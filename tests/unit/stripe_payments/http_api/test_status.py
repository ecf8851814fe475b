"""`GET /api/payments/status/{id}`: the documented members, for the checkout sessions of this router."""

import pytest

from tests.unit.stripe_payments.harness import Harness, Shop

STATUS = "/api/payments/status"


async def test_a_paid_session(shop: Shop) -> None:
    session_id = await shop.buy()
    reply = await shop.harness.http("GET", f"{STATUS}/{session_id}")
    body = reply.json()
    assert (reply.status, set(body)) == (200, {"status", "amount", "currency", "payment_date"})
    assert (body["status"], body["amount"], body["currency"]) == ("paid", 4999, "eur")
    assert body["payment_date"].endswith("Z")


async def test_a_session_that_is_not_paid_yet(shop: Shop) -> None:
    reply = await shop.harness.http("GET", f"{STATUS}/{await shop.checkout()}")
    assert reply.status == 200
    assert reply.json()["status"] == "unpaid"
    assert reply.json()["payment_date"] is None


async def test_only_checkout_sessions_are_answered_without_a_login(shop: Shop) -> None:
    session_id = await shop.buy()
    session = await shop.account.request("GET", f"checkout/sessions/{session_id}")
    assert (await shop.harness.call("payment_status", payment_id=session["payment_intent"]))[
        "status"
    ] == "paid"
    reply = await shop.harness.http("GET", f"{STATUS}/{session['payment_intent']}")
    assert reply.error == (404, "payment_not_found")


async def test_without_stripe_an_open_checkout_is_unpaid(harness: Harness) -> None:
    await harness.call("set_keys", secret_key="sk_test_51ForTheMode")
    await harness.add_checkout("cs_test_1")
    reply = await harness.http("GET", f"{STATUS}/cs_test_1")
    assert reply.status == 200
    assert reply.json() == {"status": "unpaid", "amount": 4999, "currency": "eur", "payment_date": None}
    payment = await harness.call("payment_status", payment_id="cs_test_1")
    assert (payment["status"], payment["final"], payment["item"]) == ("unpaid", False, "router_os_premium")


@pytest.mark.parametrize("payment_id", ["cs_test_nobodys", "pi_1", "x", "cs_"])
async def test_an_id_that_is_not_ours_is_not_found(harness: Harness, payment_id: str) -> None:
    assert (await harness.http("GET", f"{STATUS}/{payment_id}")).error == (404, "payment_not_found")


async def test_guessing_ids_is_rate_limited(harness: Harness) -> None:
    statuses = [
        (await harness.http("GET", f"{STATUS}/cs_test_{n}", x_remote_addr="10.0.0.9")).status
        for n in range(90)
    ]
    assert statuses[0] == 404
    assert statuses[-1] == 429
    waiting = await harness.http("GET", f"{STATUS}/cs_test_x", x_remote_addr="10.0.0.9")
    assert waiting.error == (429, "rate_limited")
    assert int(waiting.headers["Retry-After"]) > 0
    neighbour = await harness.http("GET", f"{STATUS}/cs_test_x", x_remote_addr="10.0.0.10")
    assert neighbour.error == (404, "payment_not_found")
    page = await harness.http(
        "GET", "/payment-success", query="session_id=cs_test_y", x_remote_addr="10.0.0.9"
    )
    assert page.status == 429


async def test_a_buyer_behind_a_rate_limited_address_is_answered(shop: Shop) -> None:
    session_id = await shop.checkout()
    for n in range(90):
        guess = await shop.harness.http("GET", f"{STATUS}/cs_test_{n}", x_remote_addr="10.0.0.9")
    assert guess.status == 429
    known = await shop.harness.http("GET", f"{STATUS}/{session_id}", x_remote_addr="10.0.0.9")
    assert known.status == 200
    page = await shop.harness.http(
        "GET", "/payment-success", query=f"session_id={session_id}", x_remote_addr="10.0.0.9"
    )
    assert page.status == 200
