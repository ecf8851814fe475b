from __future__ import annotations

import asyncio
import json

import pytest

from simulator.stripe_cloud import StripeCloud
from stripe_payments.billing import catalog_view, read_ownership
from stripe_payments.errors import PaymentError
from tests.unit.stripe_payments.engine import MONTHLY, ONE_TIME, Engine, at_dashboard

DAY = 86_400


async def refusal(awaitable: object) -> PaymentError:
    with pytest.raises(PaymentError) as raised:
        await awaitable  # type: ignore[misc]
    return raised.value


async def test_a_paid_session(engine: Engine) -> None:
    session_id = await engine.buy()
    shown = await engine.status.show(session_id, "it")
    assert (shown["status"], shown["amount"], shown["currency"]) == ("paid", 4999, "eur")
    assert shown["payment_date"].endswith("Z")
    assert (shown["item"], shown["title"]) == ("router_os_premium", "Router OS Premium per sempre")
    assert shown["final"] is True
    assert shown["failure"] is None


async def test_a_completed_payment_is_returned_without_a_request_to_stripe(engine: Engine) -> None:
    session_id = await engine.buy()
    before = engine.asked()
    await engine.status.show(session_id)
    assert engine.asked() == before


async def test_it_is_the_success_page_that_unlocks_if_it_comes_first(
    engine: Engine, cloud: StripeCloud
) -> None:
    session_id = await engine.checkout()
    cloud.pay(session_id)
    assert (await engine.status.show(session_id))["status"] == "paid"
    assert await engine.unlocked() == {"updates", "backups"}


async def test_every_id_of_the_payment_will_do(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.buy()
    intent = cloud.account.get("checkout.session", session_id)["payment_intent"]
    charge = cloud.account.get("payment_intent", intent)["latest_charge"]
    for payment_id in (session_id, intent, charge):
        shown = await engine.status.show(payment_id)
        assert (shown["status"], shown["id"], shown["payment_id"]) == ("paid", session_id, intent)


@pytest.mark.parametrize(
    ("card", "reason", "italian"),
    [
        ("4000000000000002", "declined", "rifiutato"),
        ("4000000000009995", "insufficient_funds", "Fondi"),
        ("4000000000000069", "expired_card", "scaduta"),
    ],
)
async def test_a_declined_card_is_explained_and_may_be_followed_by_another(
    engine: Engine, cloud: StripeCloud, card: str, reason: str, italian: str
) -> None:
    session_id = await engine.checkout()
    cloud.pay(session_id, card=card)
    shown = await engine.status.show(session_id, "it")
    assert (shown["status"], shown["final"]) == ("failed", False)
    assert shown["failure"]["reason"] == reason
    assert italian in shown["failure"]["message"]
    (row,) = (await engine.history.page(locale="it"))["transactions"]
    assert (row["status"], row["failure"]) == ("failed", shown["failure"])
    assert await engine.unlocked() == set()
    cloud.pay(session_id)
    await engine.reconciler.sync(session_id)
    shown = await engine.status.show(session_id)
    assert (shown["status"], shown["failure"]) == ("paid", None)


async def test_a_challenge_that_was_not_passed_is_returned(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout()
    cloud.pay(session_id, card="4000002500003155", challenge="fail")
    assert (await engine.status.show(session_id))["failure"]["reason"] == "authentication_required"


async def test_an_open_session_is_unpaid_and_an_old_one_expired(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout()
    shown = await engine.status.show(session_id)
    assert (shown["status"], shown["payment_date"], shown["final"]) == ("unpaid", None, False)
    cloud.advance(25 * 3600)
    await engine.reconciler.sync(session_id)
    assert (await engine.status.show(session_id))["status"] == "expired"
    assert await engine.ledger.read(lambda tx: tx.checkouts.open()) == []


async def test_many_who_ask_are_one_request(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout()
    before = engine.asked()
    answers = await asyncio.gather(*(engine.status.show(session_id) for _ in range(20)))
    assert {answer["status"] for answer in answers} == {"unpaid"}
    assert engine.asked() - before == 1


async def test_without_stripe_the_last_known_state_is_returned(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout()
    await engine.reconciler.sync(session_id)
    cloud.set_faults(drop_connection=True)
    assert (await engine.status.show(session_id))["status"] == "unpaid"
    assert (await refusal(engine.status.show("cs_test_unknown"))).code == "stripe_unreachable"


async def test_what_is_no_payment_of_ours(engine: Engine) -> None:
    assert (await refusal(engine.status.show("cs_test_nobody"))).code == "payment_not_found"
    for wrong in ("", "nonsense", "cus_1", "price_1", "cs_x/../y"):
        assert (await refusal(engine.status.show(wrong))).code == "invalid_argument"


async def test_a_refund_in_parts_and_then_the_rest(engine: Engine) -> None:
    session_id = await engine.buy()
    first = await engine.refunds.refund(session_id, 1000, "duplicate")
    assert (first["amount"], first["status"], first["reason"]) == (1000, "succeeded", "duplicate")
    error = await refusal(engine.refunds.refund(session_id, 4000))
    assert (error.code, error.details["available"]) == ("amount_too_large", 3999)
    rest = await engine.refunds.refund(session_id)
    assert rest["amount"] == 3999
    assert await engine.unlocked() == set()
    assert (await refusal(engine.refunds.refund(session_id))).code == "not_refundable"


async def test_a_refund_asked_for_twice_at_once_gives_back_once(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.buy()
    twice = await asyncio.gather(
        engine.refunds.refund(session_id, 500), engine.refunds.refund(session_id, 500)
    )
    assert twice[0]["id"] == twice[1]["id"]
    assert len(list(cloud.account.newest_first("refund"))) == 1


async def test_many_refunds_at_once_never_give_back_more_than_was_paid(
    engine: Engine, cloud: StripeCloud
) -> None:
    session_id = await engine.buy()
    intent = str(cloud.account.get("checkout.session", session_id)["payment_intent"])
    asked: list[tuple[str, int | None]] = [(session_id, 1000)] * 6
    asked += [(intent, 3000), (session_id, 3500), (intent, None), (session_id, None)]
    answers = await asyncio.gather(
        *(engine.refunds.refund(payment_id, amount) for payment_id, amount in asked), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert {error.code for error in refused if isinstance(error, PaymentError)} <= {
        "amount_too_large",
        "not_refundable",
    }
    assert len({str(answer) for answer in answers[:6]}) == 1  # six clicks, one refund
    given = [refund["amount"] for refund in cloud.account.newest_first("refund")]
    assert sorted(given)[0] == 999
    assert sum(given) == 4999


async def test_a_refund_that_stripe_refused_is_asked_for_afresh(engine: Engine, cloud: StripeCloud) -> None:
    """Stripe repeats the answer that it gave under a key, however much the balance has grown since."""
    session_id = await engine.buy()
    cloud.set_faults(status=402, path="/v1/refunds", count=1)
    await refusal(engine.refunds.refund(session_id))
    await engine.refunds.refund(session_id)
    keys = [request["idempotency_key"] for request in cloud.requests(method="POST", path="/v1/refunds")]
    assert len(set(keys)) == 2


@pytest.mark.parametrize(
    "fault",
    [{"drop_connection": True, "when": "after"}, {"status": 500, "when": "after"}, {"truncate": True}],
    ids=["dropped", "failed", "truncated"],
)
async def test_a_refund_whose_answer_was_lost_is_not_given_twice(
    engine: Engine, cloud: StripeCloud, fault: dict[str, object]
) -> None:
    session_id = await engine.buy()
    cloud.set_faults(**fault, path="/v1/refunds", count=1)
    await refusal(engine.refunds.refund(session_id, 500))
    assert (await engine.refunds.refund(session_id, 500))["amount"] == 500
    assert [refund["amount"] for refund in cloud.account.newest_first("refund")] == [500]
    await engine.refunds.refund(session_id, 500)  # a refund of its own, now that the first one was heard of
    assert [refund["amount"] for refund in cloud.account.newest_first("refund")] == [500, 500]


async def test_what_cannot_be_refunded(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout()
    assert (await refusal(engine.refunds.refund(session_id))).code == "not_refundable"
    assert (await refusal(engine.refunds.refund("cs_test_nobody"))).code == "payment_not_found"
    for wrong in (
        engine.refunds.refund(session_id, 0),
        engine.refunds.refund(session_id, -1),
        engine.refunds.refund(session_id, 1, "because"),
        engine.refunds.refund("sub_1"),
    ):
        assert (await refusal(wrong)).code == "invalid_argument"
    cloud.pay(session_id)
    cloud.dispute(session_id)
    assert (await refusal(engine.refunds.refund(session_id))).code == "not_refundable"


@pytest.mark.parametrize("price", [ONE_TIME, MONTHLY])
async def test_an_inquiry_can_be_answered_with_a_refund(
    engine: Engine, cloud: StripeCloud, price: str
) -> None:
    session_id = await engine.buy(price)
    (charge,) = cloud.account.newest_first("charge")
    cloud.dispute(charge["id"], "inquiry")
    assert (await engine.refunds.refund(charge["id"], 100))["amount"] == 100
    assert (await engine.refunds.refund(session_id))["amount"] == charge["amount"] - 100
    await engine.poller.poll_everything()
    assert await engine.unlocked() == set()
    assert await engine.reason("backups") == "refunded"


@pytest.mark.parametrize("named", ["session", "payment_intent", "charge"])
async def test_the_payment_of_a_plan_is_refunded_by_any_of_its_ids(
    engine: Engine, cloud: StripeCloud, named: str
) -> None:
    session_id = await engine.buy(MONTHLY)
    (charge,) = cloud.account.newest_first("charge")
    ids = {"session": session_id, "payment_intent": charge["payment_intent"], "charge": charge["id"]}
    assert (await engine.refunds.refund(ids[named]))["amount"] == 499
    assert await engine.reason("backups") == "refunded"
    assert (await refusal(engine.refunds.refund(ids[named]))).code == "not_refundable"


async def test_the_catalog_shows_what_is_owned_in_both_languages(engine: Engine) -> None:
    async def owned() -> dict[str, bool]:
        view = catalog_view(engine.settings, read_ownership(engine.reconciler.state), "it")
        everything = view["plans"] + view["products"]
        return {price["id"]: price["owned"] for sold in everything for price in sold["prices"]}

    assert not any((await owned()).values())
    await engine.buy()
    assert {price for price, held in (await owned()).items() if held} == {ONE_TIME}
    view = catalog_view(engine.settings, read_ownership(engine.reconciler.state), "it")
    (product,) = view["products"]
    assert product["title"] == "Router OS Premium per sempre"
    assert product["prices"] == [
        {
            "id": ONE_TIME,
            "price_id": None,
            "amount": 4999,
            "currency": "eur",
            "interval": None,
            "trial_days": 0,
            "owned": True,
        }
    ]
    assert view["features"]["backups"] == {"title": "Backup giornalieri", "description": ""}


async def test_the_history_comes_in_pages(engine: Engine) -> None:
    session_id = await engine.buy()
    for amount in (100, 200, 300):
        await engine.refunds.refund(session_id, amount)
    first = await engine.history.page(3)
    rest = await engine.history.page(3, first["next"])
    lines = first["transactions"] + rest["transactions"]
    assert len(lines) == 4
    assert rest["next"] is None
    assert sorted(line["amount"] for line in lines) == [-300, -200, -100, 4999]
    assert (await refusal(engine.history.page(0))).code == "invalid_argument"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_refund_whose_failure_stripe_stored_is_made_once(
    engine: Engine, cloud: StripeCloud, when: str
) -> None:
    session_id = await engine.buy()
    cloud.set_faults(status=500, stored=True, when=when, path="/v1/refunds", count=1)
    assert (await refusal(engine.refunds.refund(session_id, 500))).code == "stripe_error"
    assert (await engine.refunds.refund(session_id, 500))["amount"] == 500
    assert [refund["amount"] for refund in cloud.account.newest_first("refund")] == [500]
    await engine.refunds.refund(session_id, 500)
    assert [refund["amount"] for refund in cloud.account.newest_first("refund")] == [500, 500]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_purchase_whose_failure_stripe_stored_goes_on(
    engine: Engine, cloud: StripeCloud, when: str
) -> None:
    """Neither the customer's key, which is the same for ever, nor that of a checkout blocks for a day."""
    for path in ("/v1/customers", "/v1/checkout/sessions"):
        cloud.set_faults(status=500, stored=True, when=when, path=path, method="POST", count=1)
        assert (await refusal(engine.checkout())).code == "stripe_error"
    session_id = await engine.checkout()
    cloud.pay(session_id)
    assert (await engine.status.show(session_id))["status"] == "paid"
    assert len(list(cloud.account.newest_first("customer"))) == 1


async def test_an_account_without_search_sells_and_finds_its_customer(
    engine: Engine, cloud: StripeCloud
) -> None:
    cloud.account.settings["search"] = False
    await engine.poller.poll_everything()
    await engine.buy()
    customer = engine.identity.load().customer
    engine.identity.set_customer(None)
    await engine.poller.poll_everything()
    assert engine.identity.load().customer == customer
    assert await engine.unlocked() == {"updates", "backups"}


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_however_an_account_refuses_search_it_sells(
    engine: Engine, cloud: StripeCloud, status: int
) -> None:
    error = {"type": "invalid_request_error", "message": "Unrecognized request URL."}
    cloud.set_faults(
        method="GET", path="/v1/customers/search", status=status, body=json.dumps({"error": error})
    )
    await engine.buy()
    assert await engine.unlocked() == {"updates", "backups"}


async def test_the_status_of_a_plan_is_that_of_its_latest_invoice(engine: Engine, cloud: StripeCloud) -> None:
    """Stripe calls it active while a debit is processing, an e-mailed invoice is unpaid, or all went back."""
    subscription = await engine.subscribe()
    customer = engine.identity.load().customer or ""
    invoice = engine.reconciler.state.parsed.invoices_of[subscription][0].id
    for amount, status in ((100, "partially_refunded"), (None, "refunded")):
        await engine.refunds.refund(invoice, amount)
        assert (await engine.status.show(subscription))["status"] == status
    cloud.change_card(customer, "bank_debit")
    for days, status in ((31.2, "pending"), (5, "paid")):
        cloud.advance(days * DAY)
        await engine.poller.poll_everything()
        assert (await engine.status.show(subscription))["status"] == status
    (price,) = [one["id"] for one in cloud.account.newest_first("price") if one["lookup_key"] == MONTHLY]
    sent = await at_dashboard(
        cloud,
        "/v1/subscriptions",
        customer=customer,
        items=[{"price": price}],
        collection_method="send_invoice",
        days_until_due=14,
    )
    cloud.advance(DAY)
    assert (await engine.status.show(sent["id"]))["status"] == "unpaid"


@pytest.mark.parametrize(
    ("price", "currency", "amount"), [(ONE_TIME, "usd", 5499), (MONTHLY, "usd", 549), (MONTHLY, None, None)]
)
async def test_the_history_has_what_the_buyer_paid_in_their_own_currency(
    engine: Engine, cloud: StripeCloud, price: str, currency: str | None, amount: int | None
) -> None:
    """Adaptive Pricing: Stripe's page converts the price, and the card is charged the converted amount."""
    cloud.account.settings["adaptive_pricing"] = True
    session = await engine.checkout(price)
    cloud.pay(session, currency=currency)
    await engine.poller.poll_everything()
    (made,) = cloud.account.newest_first("charge")
    await engine.reconciler.sync(str(made["id"]))
    (row,) = (await engine.history.page())["transactions"]
    assert row["currency"] == "eur"
    assert row["presentment"] == (currency and {"amount": amount, "currency": currency})
    for payment_id in (session, row["id"], made["id"]):
        shown = await engine.status.show(payment_id)
        assert (shown["currency"], shown["presentment"]) == ("eur", row["presentment"]), payment_id
