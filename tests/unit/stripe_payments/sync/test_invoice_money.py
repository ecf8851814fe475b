"""What became of a plan's money: gone back, owed, never asked for. By polling alone unless said otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.stripe_cloud import StripeCloud
from stripe_payments.errors import PaymentError
from tests.unit.stripe_payments.engine import (
    BUSINESS,
    KEY,
    MONTHLY,
    ONE_TIME,
    YEARLY,
    Engine,
    at_dashboard,
    pay_a_part,
)

DAY = 86_400
BOUGHT = {"updates", "backups"}


def charge_of(cloud: StripeCloud) -> str:
    """The newest charge."""
    return str(next(iter(cloud.account.newest_first("charge")))["id"])


async def history(engine: Engine) -> list[tuple[str, int, str]]:
    rows = (await engine.history.page())["transactions"]
    return sorted((row["kind"], row["amount"], row["status"]) for row in rows)


async def test_a_refund_of_the_whole_period_locks_until_the_next_one_is_paid(
    engine: Engine, cloud: StripeCloud
) -> None:
    await engine.subscribe()
    await engine.stripe.create("refund", {"charge": charge_of(cloud), "amount": 100}, "part")
    await engine.poller.poll_everything()
    assert await engine.unlocked() == BOUGHT
    assert await history(engine) == [("invoice", 499, "partially_refunded"), ("refund", -100, "succeeded")]
    await engine.stripe.create("refund", {"charge": charge_of(cloud)}, "rest")
    await engine.poller.poll_everything()
    assert await engine.unlocked() == set()
    assert await engine.reason("backups") == "refunded"
    assert ("invoice", 499, "refunded") in await history(engine)
    cloud.advance(32 * DAY)
    await engine.poller.poll_everything()
    assert await engine.unlocked() == BOUGHT


async def test_our_own_refund_of_an_invoice_is_noticed_at_once(engine: Engine, cloud: StripeCloud) -> None:
    await engine.subscribe()
    (line,) = (await engine.history.page())["transactions"]
    await engine.refunds.refund(line["id"])
    assert await engine.reason("backups") == "refunded"
    assert (await engine.status.show(line["id"]))["status"] == "refunded"


@pytest.mark.parametrize(
    ("outcome", "left", "reason"), [("won", BOUGHT, "active"), ("lost", set(), "disputed")]
)
@pytest.mark.parametrize("told_by", ["poll", "event"])
async def test_a_dispute_about_an_invoice_locks_when_it_is_lost(
    engine: Engine, cloud: StripeCloud, outcome: str, left: set[str], reason: str, told_by: str
) -> None:
    async def notice(dispute: str) -> None:
        if told_by == "poll":
            await engine.poller.poll_everything()
        else:
            await engine.reconciler.sync(dispute, "charge.dispute")

    await engine.subscribe()
    charge = charge_of(cloud)
    dispute = cloud.dispute(charge)
    await notice(dispute["id"])
    assert await engine.unlocked() == BOUGHT
    assert ("invoice", 499, "disputed") in await history(engine)
    cloud.dispute(charge, outcome)
    await notice(dispute["id"])
    assert await engine.unlocked() == left
    assert await engine.reason("backups") == reason


async def test_giving_back_what_an_upgrade_cost_does_not_take_the_plan(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    cloud.advance(10 * DAY)
    await engine.subscriptions.change_plan(subscription, BUSINESS)
    await engine.stripe.create("refund", {"charge": charge_of(cloud)}, "goodwill")
    await engine.poller.poll_everything()
    assert await engine.unlocked() == BOUGHT | {"monitoring"}


async def test_the_next_unpaid_renewal_is_no_new_grace(engine: Engine, cloud: StripeCloud) -> None:
    cloud.account.settings["dunning_ends_with"] = "past_due"
    await engine.subscribe()
    customer = engine.identity.load().customer
    assert customer is not None
    cloud.change_card(customer, "4000000000000341")
    cloud.advance(32 * DAY)
    await engine.poller.poll_everything()
    assert await engine.reason("backups") == "grace"
    cloud.advance(31 * DAY)
    await engine.poller.poll_everything()
    (held,) = engine.reconciler.state.subscriptions.values()
    assert held.status == "past_due"
    assert await engine.unlocked() == set()
    assert await engine.reason("backups") == "past_due"


async def test_a_trial_is_given_once(engine: Engine, cloud: StripeCloud) -> None:
    prices = dict(engine.settings.prices)
    prices[MONTHLY] = replace(prices[MONTHLY], trial_days=14)
    engine.change(prices=prices)
    subscription = await engine.subscribe()
    assert await engine.reason("backups") == "trialing"
    assert list(cloud.account.newest_first("charge")) == []
    preview = await engine.subscriptions.preview_change(subscription, BUSINESS)
    assert (preview["amount_due"], preview["next_payment"]["amount"]) == (0, 1499)
    cloud.advance(15 * DAY)
    await engine.poller.poll_everything()
    assert await engine.reason("backups") == "active"
    await engine.subscriptions.cancel(subscription, at_period_end=False)
    second = await engine.subscribe()
    assert cloud.account.get("subscription", second)["trial_end"] is None


async def test_a_trial_without_a_card_ends_by_itself(engine: Engine, cloud: StripeCloud) -> None:
    prices = dict(engine.settings.prices)
    prices[MONTHLY] = replace(prices[MONTHLY], trial_days=14, trial_requires_card=False)
    engine.change(prices=prices)
    await engine.subscribe(card="")
    assert await engine.reason("backups") == "trialing"
    cloud.advance(15 * DAY)
    await engine.poller.poll_everything()
    assert await engine.unlocked() == set()
    assert await engine.reason("backups") == "canceled"
    assert await engine.checkout(MONTHLY), "and the plan can be bought"


async def test_promotion_codes_and_tax_where_they_are_configured(engine: Engine, cloud: StripeCloud) -> None:
    plain = cloud.account.get("checkout.session", await engine.checkout(MONTHLY))
    assert not plain["allow_promotion_codes"]
    assert not plain["automatic_tax"]["enabled"]
    engine.change(allow_promotion_codes=True, automatic_tax=True)
    session_id = (await engine.checkouts.create(MONTHLY, "http://192.168.1.1/other"))["session_id"]
    session = cloud.account.get("checkout.session", session_id)
    assert session["allow_promotion_codes"] is True
    assert session["automatic_tax"]["enabled"] is True
    coupon = await at_dashboard(cloud, "/v1/coupons", percent_off=100, duration="forever")
    promotion = {"promotion": {"type": "coupon", "coupon": coupon["id"]}, "code": "FREE"}
    await at_dashboard(cloud, "/v1/promotion_codes", **promotion)
    cloud.pay(session_id, promotion_code="FREE")
    await engine.reconciler.sync(session_id, "test")
    assert await engine.unlocked() == BOUGHT
    assert (await engine.status.show(session_id))["amount"] == 0


async def test_polling_writes_nothing_when_nothing_has_changed(engine: Engine, cloud: StripeCloud) -> None:
    """Every list expands alike, or each turn would undo on flash what the one before wrote."""
    subscription = await engine.subscribe()
    cloud.advance(10 * DAY)
    await engine.subscriptions.change_plan(subscription, BUSINESS)
    await engine.stripe.create("refund", {"charge": charge_of(cloud), "amount": 1}, "little")
    await engine.buy()
    for _ in range(2):
        await engine.poller.poll_everything()
    before = await engine.ledger.read(lambda tx: tx.objects._connection.total_changes)
    await engine.poller.poll_everything()
    assert await engine.ledger.read(lambda tx: tx.objects._connection.total_changes) == before


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_plan_by_bank_debit_unlocks_when_it_is_paid(
    engine: Engine, cloud: StripeCloud, trusted: bool
) -> None:
    engine.change(trust_pending_debits=trusted)
    subscription = await engine.subscribe(card="bank_debit")
    await engine.poller.poll_everything()
    assert await engine.unlocked() == (BOUGHT if trusted else set())
    assert await engine.reason("backups") == ("active" if trusted else "pending")
    assert (await engine.status.show(subscription))["status"] == "pending"
    cloud.advance(5 * DAY)
    await engine.poller.poll_everything()
    assert await engine.unlocked() == BOUGHT
    assert await engine.reason("backups") == "active"
    cloud.advance(27 * DAY)  # the renewal's debit is processing: it was paid before
    await engine.poller.poll_everything()
    assert await engine.unlocked() == BOUGHT


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_plan_whose_first_bank_debit_failed_is_unpaid_although_active(
    engine: Engine, cloud: StripeCloud, trusted: bool
) -> None:
    engine.change(trust_pending_debits=trusted)
    subscription = await engine.subscribe(card="bank_debit_fails")
    cloud.advance(5 * DAY)
    await engine.poller.poll_everything()
    assert cloud.account.get("subscription", subscription)["status"] == "active"
    assert await engine.unlocked() == set()
    assert await engine.reason("backups") == "unpaid"
    assert (await engine.status.show(subscription))["status"] == "unpaid"


async def renewed_in_parts(engine: Engine, cloud: StripeCloud) -> tuple[str, list[str]]:
    """(invoice, payment intents): a plan's renewal failed, and its invoice was paid by 2.00 and 2.99."""
    subscription = await engine.subscribe()
    customer = engine.identity.load().customer
    assert customer is not None
    cloud.change_card(customer, "4000000000000341")
    cloud.advance(32 * DAY)
    invoice = str(cloud.account.get("subscription", subscription)["latest_invoice"])
    intents = [await pay_a_part(cloud, invoice, amount) for amount in (200, 299)]
    await engine.poller.poll_everything()
    assert await engine.reason("backups") == "active"
    return invoice, intents


async def test_of_an_invoice_that_was_paid_in_part_the_rest_is_owed(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    cloud.change_card(str(engine.identity.load().customer), "4000000000000341")
    cloud.advance(32 * DAY)
    invoice = str(cloud.account.get("subscription", subscription)["latest_invoice"])
    await pay_a_part(cloud, invoice, 200)
    await engine.poller.poll_everything()
    assert ("invoice", 299, "unpaid") in await history(engine)
    assert (await engine.status.show(invoice))["amount"] == 299
    owed = (await engine.subscriptions.list())[0]["latest_invoice"]
    assert (owed["amount_due"], owed["amount_remaining"]) == (499, 299)
    await pay_a_part(cloud, invoice, 299)
    await engine.poller.poll_everything()
    assert await history(engine) == [("invoice", 499, "paid"), ("invoice", 499, "paid")]


async def test_an_invoice_with_two_payments_is_refunded_when_both_are(
    engine: Engine, cloud: StripeCloud
) -> None:
    invoice, intents = await renewed_in_parts(engine, cloud)
    for intent, left, status in zip(
        intents, (BOUGHT, set[str]()), ("partially_refunded", "refunded"), strict=True
    ):
        await engine.stripe.create("refund", {"payment_intent": intent}, f"refund {intent}")
        await engine.poller.poll_everything()
        assert await engine.unlocked() == left
        assert (await engine.status.show(invoice))["status"] == status
    assert await engine.reason("backups") == "refunded"
    assert ("invoice", 499, "refunded") in await history(engine)


@pytest.mark.parametrize("amount", [None, 300])
async def test_our_own_refund_of_an_invoice_takes_all_its_payments(
    engine: Engine, cloud: StripeCloud, amount: int | None
) -> None:
    invoice, _ = await renewed_in_parts(engine, cloud)
    refund = await engine.refunds.refund(invoice, amount)
    assert (refund["amount"], refund["status"]) == (amount or 499, "succeeded")
    assert sum(one["amount"] for one in cloud.account.newest_first("refund")) == (amount or 499)
    assert await engine.unlocked() == (set() if amount is None else BOUGHT)
    rest = 499 - (amount or 499)
    with pytest.raises(PaymentError, match="not_refundable" if not rest else "amount_too_large"):
        await engine.refunds.refund(invoice, rest + 1)


@pytest.mark.parametrize("named", ["invoice", "charge"])
async def test_a_charge_without_a_payment_intent_is_the_payment_of_its_invoice(
    engine: Engine, cloud: StripeCloud, named: str
) -> None:
    """As of invoices before March 2019."""
    subscription = await engine.subscribe()
    invoice, charge = str(cloud.account.get("subscription", subscription)["latest_invoice"]), charge_of(cloud)
    cloud.without_intents(invoice)
    await engine.poller.poll_everything()
    assert await history(engine) == [("invoice", 499, "paid")]
    payment = {"invoice": invoice, "charge": charge}[named]
    assert (await engine.status.show(payment))["status"] == "paid"
    refund = await engine.refunds.refund(payment, 200)
    assert (refund["amount"], refund["status"]) == (200, "succeeded")
    assert (await engine.status.show(payment))["status"] == "partially_refunded"
    rest = await engine.refunds.refund(payment)
    assert rest["amount"] == 299
    assert await engine.reason("backups") == "refunded"
    with pytest.raises(PaymentError, match="already fully refunded"):
        await engine.refunds.refund(payment)


async def test_events_about_a_charge_without_a_payment_intent_count(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    cloud.without_intents(str(cloud.account.get("subscription", subscription)["latest_invoice"]))
    await engine.poller.poll_everything()
    dispute = cloud.dispute(charge_of(cloud), "lost")
    await engine.reconciler.sync(dispute["id"], "charge.dispute")
    assert await engine.reason("backups") == "disputed"


async def paid_elsewhere(engine: Engine, cloud: StripeCloud, by_card: int, how: str) -> str:
    """A renewal whose card failed: `by_card` of it was paid by another card, the rest outside of Stripe."""
    subscription = await engine.subscribe()
    cloud.change_card(str(engine.identity.load().customer), "4000000000000341")
    cloud.advance(32 * DAY)
    invoice = str(cloud.account.get("subscription", subscription)["latest_invoice"])
    if by_card:
        await pay_a_part(cloud, invoice, by_card)
    if how == "cash":
        await at_dashboard(cloud, f"/v1/invoices/{invoice}/pay", paid_out_of_band=True)
    else:
        record = await at_dashboard(
            cloud,
            "/v1/payment_records/report_payment",
            amount_requested={"value": 499 - by_card, "currency": "eur"},
            initiated_at=cloud.account.now(),
            outcome="guaranteed",
            guaranteed={"guaranteed_at": cloud.account.now()},
            payment_method_details={"type": "custom", "custom": {"display_name": "Bank transfer"}},
        )
        await at_dashboard(cloud, f"/v1/invoices/{invoice}/attach_payment", payment_record=record["id"])
    await engine.poller.poll_everything()
    assert await engine.reason("backups") == "active"
    return invoice


@pytest.mark.parametrize("how", ["cash", "payment record"])
async def test_what_was_paid_outside_of_stripe_is_paid_and_cannot_be_refunded_here(
    engine: Engine, cloud: StripeCloud, how: str
) -> None:
    invoice = await paid_elsewhere(engine, cloud, 0, how)
    assert await history(engine) == [("invoice", 499, "paid"), ("invoice", 499, "paid")]
    assert (await engine.status.show(invoice))["status"] == "paid"
    with pytest.raises(PaymentError, match="it was paid outside of Stripe") as refused:
        await engine.refunds.refund(invoice)
    assert refused.value.code == "not_refundable"
    assert "è stato pagato fuori da Stripe" in refused.value.message_in("it")


@pytest.mark.parametrize("how", ["cash", "payment record"])
async def test_of_an_invoice_that_a_card_paid_in_part_that_part_is_refunded(
    engine: Engine, cloud: StripeCloud, how: str
) -> None:
    invoice = await paid_elsewhere(engine, cloud, 200, how)
    with pytest.raises(PaymentError, match="outside of Stripe") as refused:
        await engine.refunds.refund(invoice, 499)
    assert refused.value.code == "amount_too_large"
    assert (await engine.refunds.refund(invoice))["amount"] == 200
    assert await engine.reason("backups") == "active"
    assert (await engine.status.show(invoice))["status"] == "partially_refunded"


async def test_what_became_credit_is_not_refunded_again(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe(YEARLY)
    yearly = str(cloud.account.get("subscription", subscription)["latest_invoice"])
    cloud.advance(2 * DAY)
    await engine.subscriptions.change_plan(subscription, MONTHLY)
    credit = -int(cloud.account.get("customer", str(engine.identity.load().customer))["balance"])
    assert credit > 4000
    with pytest.raises(PaymentError, match="customer credit"):
        await engine.refunds.refund(yearly, 4999)
    refund = await engine.refunds.refund(yearly)
    assert (refund["amount"], refund["credited"]) == (4999 - credit, credit)
    with pytest.raises(PaymentError, match="not_refundable"):
        await engine.refunds.refund(yearly)
    assert await engine.unlocked() == BOUGHT


@pytest.mark.parametrize("permitted", [True, False])
@pytest.mark.parametrize(
    ("parts", "left"),
    [
        ({"credit_amount": 499}, 0),
        ({"credit_amount": 200}, 299),
        ({"refund_amount": 200}, 299),
        ({"out_of_band_amount": 100, "refund_amount": 100}, 299),
    ],
)
async def test_what_a_credit_note_has_given_back_is_not_refunded_again(
    engine: Engine, cloud: StripeCloud, parts: dict[str, int], left: int, permitted: bool
) -> None:
    """`permitted`: whether the key may list credit notes."""
    subscription = await engine.subscribe()
    invoice = str(cloud.account.get("subscription", subscription)["latest_invoice"])
    await at_dashboard(cloud, "/v1/credit_notes", invoice=invoice, amount=sum(parts.values()), **parts)
    await engine.poller.poll_everything()
    if not permitted:
        cloud.api.keys.restrict(KEY, ["rak_credit_note_read"])
    credited = 499 - left - parts.get("refund_amount", 0)
    with pytest.raises(PaymentError) as refused:
        await engine.refunds.refund(invoice, 499)
    assert refused.value.code == ("amount_too_large" if left else "not_refundable")
    assert ("credit note" in str(refused.value)) is bool(credited)
    assert ("nota di credito" in refused.value.message_in("it")) is bool(credited)
    if left:
        refund = await engine.refunds.refund(invoice)
        assert (refund["amount"], refund["credited"]) == (left, credited)


async def test_an_invoice_with_two_payments_is_lost_when_both_are(engine: Engine, cloud: StripeCloud) -> None:
    _, intents = await renewed_in_parts(engine, cloud)
    for intent, left in zip(intents, (BOUGHT, set[str]()), strict=True):
        cloud.dispute(intent, "lost")
        await engine.poller.poll_everything()
        assert await engine.unlocked() == left
    assert await engine.reason("backups") == "disputed"


async def test_a_refund_of_the_cards_part_leaves_what_credit_paid(engine: Engine, cloud: StripeCloud) -> None:
    await engine.subscribe()
    await at_dashboard(cloud, f"/v1/customers/{engine.identity.load().customer}", balance=-201)
    cloud.advance(32 * DAY)
    await engine.stripe.create("refund", {"charge": charge_of(cloud)}, "all of the card's part")
    await engine.poller.poll_everything()
    assert await engine.unlocked() == BOUGHT
    rows = await history(engine)
    assert ("invoice", 298, "partially_refunded") in rows
    assert ("refund", -298, "succeeded") in rows


@pytest.mark.parametrize("given_back", ["all", "part"])
async def test_a_period_paid_with_the_credit_of_a_downgrade_goes_with_its_payment(
    engine: Engine, cloud: StripeCloud, given_back: str
) -> None:
    subscription = await engine.subscribe(YEARLY)
    yearly = charge_of(cloud)
    cloud.advance(2 * DAY)
    await engine.subscriptions.change_plan(subscription, MONTHLY)
    assert await engine.unlocked() == BOUGHT
    amount = {} if given_back == "all" else {"amount": 500}
    await engine.stripe.create("refund", {"charge": yearly, **amount}, "at Stripe")
    for _ in range(2):  # also when a renewal has been paid from the balance
        await engine.poller.poll_everything()
        assert await engine.unlocked() == (set() if given_back == "all" else BOUGHT)
        cloud.advance(32 * DAY)


@pytest.mark.parametrize(("amount", "left"), [(1000, BOUGHT), (None, set[str]())])
async def test_a_lost_dispute_over_a_part_of_a_purchase_does_not_lock(
    engine: Engine, cloud: StripeCloud, amount: int | None, left: set[str]
) -> None:
    session = await engine.buy(ONE_TIME)
    cloud.dispute(session, amount=amount)
    cloud.dispute(session, "lost")
    await engine.poller.poll_everything()
    assert await engine.unlocked() == left
    assert (await engine.status.show(session))["status"] == "disputed"


@pytest.mark.parametrize("price", [ONE_TIME, MONTHLY])
async def test_a_dispute_that_was_lost_is_won_late_without_a_webhook(
    engine: Engine, cloud: StripeCloud, price: str
) -> None:
    await engine.buy(price)
    charge = charge_of(cloud)
    cloud.dispute(charge, "lost")
    await engine.poller.poll_everything()
    assert await engine.reason("backups") == "disputed"
    for status, left in (("appeal_under_review", set()), ("won", BOUGHT)):
        cloud.dispute(charge, status)
        cloud.advance(DAY)
        for _ in range(2):
            await engine.poller.poll_everything()
        assert await engine.unlocked() == left


@pytest.mark.parametrize(("case_type", "left"), [("block", BOUGHT), ("resolution", set[str]())])
async def test_a_dispute_prevented_by_a_refund_is_a_refund(
    engine: Engine, cloud: StripeCloud, case_type: str, left: set[str]
) -> None:
    session = await engine.buy(ONE_TIME)
    cloud.dispute(session, "prevented", case_type=case_type)
    await engine.poller.poll_everything()
    assert await engine.unlocked() == left
    assert await engine.reason("backups") == ("paid" if left else "refunded")


@pytest.mark.parametrize("charge_follows", [True, False])
@pytest.mark.parametrize("price", [ONE_TIME, MONTHLY])
async def test_a_refund_that_comes_back_unlocks(
    engine: Engine, cloud: StripeCloud, price: str, charge_follows: bool
) -> None:
    await engine.buy(price)
    refund = await engine.stripe.create("refund", {"charge": charge_of(cloud)}, "all")
    await engine.poller.poll_everything()
    assert await engine.unlocked() == set()
    cloud.fail_refund(refund["id"], charge_follows=charge_follows)
    await engine.poller.poll_everything()
    assert await engine.unlocked() == BOUGHT


async def test_grace_of_an_invoice_that_is_sent_counts_from_its_due_date(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    await at_dashboard(
        cloud, f"/v1/subscriptions/{subscription}", collection_method="send_invoice", days_until_due=20
    )
    for days, reason in ((32, "active"), (15, "active"), (6, "grace"), (7, "past_due")):
        cloud.advance(days * DAY)
        await engine.poller.poll_everything()
        assert await engine.reason("backups") == reason, days


@pytest.mark.parametrize("ends_with", ["paused", "past_due"])
async def test_dunning_that_ends_in_a_pause_leaves_grace_as_it_was(
    engine: Engine, cloud: StripeCloud, ends_with: str
) -> None:
    cloud.account.settings["dunning_ends_with"] = ends_with
    engine.change(grace_days=30)
    await engine.subscribe()
    cloud.change_card(str(engine.identity.load().customer), "4000000000000341")
    for days, reason in ((32, "grace"), (20, "grace"), (12, "past_due")):
        cloud.advance(days * DAY)
        await engine.poller.poll_everything()
        assert await engine.reason("backups") == reason, days


@pytest.mark.parametrize(
    ("card", "session", "subscription", "invoice"),
    [("bank_debit", "paid", "paid", "paid"), ("bank_debit_fails", "failed", "unpaid", "expired")],
)
async def test_a_plan_whose_debit_is_processing_is_pending_by_every_id(
    engine: Engine, cloud: StripeCloud, card: str, session: str, subscription: str, invoice: str
) -> None:
    session_id = await engine.buy(MONTHLY, card)
    (subscription_id,) = engine.reconciler.state.subscriptions
    invoice_id = str(cloud.account.get("subscription", subscription_id)["latest_invoice"])

    async def shown() -> list[str]:
        ids = (session_id, subscription_id, invoice_id)
        return [(await engine.status.show(one))["status"] for one in ids]

    assert await shown() == ["pending"] * 3
    assert (await engine.history.page(1))["transactions"][0]["status"] == "pending"
    cloud.advance(4 * DAY)
    await engine.poller.poll_everything()
    assert await shown() == [session, subscription, invoice]
    settled = "paid" if card == "bank_debit" else "void"
    assert (await engine.history.page(1))["transactions"][0]["status"] == settled
    assert [row["status"] for row in await engine.emitted("payment")] == ["pending", settled]


@pytest.mark.parametrize(("action", "status"), [("pay", "paid"), ("void", "void")])
async def test_the_history_follows_an_invoice_that_was_settled_without_a_charge(
    engine: Engine, cloud: StripeCloud, action: str, status: str
) -> None:
    subscription = await engine.subscribe()
    cloud.change_card(str(engine.identity.load().customer), "4000000000000341")
    cloud.advance(32 * DAY)
    await engine.poller.poll_everything()
    invoice = str(cloud.account.get("subscription", subscription)["latest_invoice"])
    assert (await engine.history.page(1))["transactions"][0]["status"] == "unpaid"
    params = {"paid_out_of_band": "true"} if action == "pay" else {}
    await at_dashboard(cloud, f"/v1/invoices/{invoice}/{action}", **params)
    await engine.poller.poll_everything()
    row = (await engine.history.page(1))["transactions"][0]
    assert (row["id"], row["status"]) == (invoice, status)
    assert (await engine.emitted("payment"))[-1]["status"] == status
    wanted = {"paid": "paid", "void": "expired"}[status]
    assert (await engine.status.show(invoice))["status"] == wanted


async def test_what_a_credit_note_forgives_is_paid(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    cloud.change_card(str(engine.identity.load().customer), "4000000000000341")
    cloud.advance(32 * DAY)
    await engine.poller.poll_everything()
    assert await engine.reason("backups") == "grace"
    invoice = str(cloud.account.get("subscription", subscription)["latest_invoice"])
    await at_dashboard(cloud, "/v1/credit_notes", invoice=invoice, amount=499)
    await engine.poller.poll_everything()
    assert (await engine.unlocked(), await engine.reason("backups")) == (BOUGHT, "active")
    assert (await engine.status.show(invoice))["status"] == "paid"


@pytest.mark.parametrize(
    ("back", "left", "reason"),
    [("credit_amount", BOUGHT, "active"), ("refund_amount", set(), "refunded")],
)
async def test_a_credit_note_on_a_paid_invoice_locks_only_if_it_refunds(
    engine: Engine, cloud: StripeCloud, back: str, left: set[str], reason: str
) -> None:
    """Credit stays with the seller: it pays for what comes next."""
    subscription = await engine.subscribe()
    invoice = str(cloud.account.get("subscription", subscription)["latest_invoice"])
    await at_dashboard(cloud, "/v1/credit_notes", invoice=invoice, amount=499, **{back: 499})
    await engine.poller.poll_everything()
    assert (await engine.unlocked(), await engine.reason("backups")) == (left, reason)
