"""What single objects say, and what all of them amount to: the corners that no flow comes to."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from itertools import permutations
from random import Random
from types import FrameType
from typing import Any

import pytest

from stripe_payments.entitlements import Purchase, Subscription
from stripe_payments.i18n import Title
from stripe_payments.payment_history import TransactionRow
from stripe_payments.settings import Feature, Price, Product, Settings
from stripe_payments.sync.archiving import archive, not_archived
from stripe_payments.sync.fetch import stored_form, units_of, units_owned_by
from stripe_payments.sync.payment_facts import MoneyBack, Payment, money_back
from stripe_payments.sync.projection import State, diff, project
from stripe_payments.sync.stripe_objects import StripeObjects, parse_objects
from ubus_py.blobmsg import encode_table

US = "a" * 32


def session(**fields: Any) -> dict[str, Any]:
    return {
        "id": "cs_1",
        "object": "checkout.session",
        "created": 100,
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "amount_total": 4999,
        "currency": "eur",
        "customer": "cus_1",
        "metadata": {"router_id": US, "price_alias": "p", "item": "i"},
        "payment_intent": None,
        **fields,
    }


def intent(**fields: Any) -> dict[str, Any]:
    whole = {"id": "pi_1", "object": "payment_intent", "created": 100, "amount": 4999, "currency": "eur"}
    return whole | fields


def charge(**fields: Any) -> dict[str, Any]:
    return {"id": "ch_1", "object": "charge", "created": 150, "paid": True, "amount": 4999, **fields}


def invoice(**fields: Any) -> dict[str, Any]:
    return {"id": "in_1", "object": "invoice", "created": 10, "currency": "eur", **fields}


def parsed(*roots: dict[str, Any]) -> StripeObjects:
    units = [unit for root in roots for unit in units_of(root, 0.0)]
    return parse_objects({raw["id"]: raw for raw in stored_form(units)})


def payment(raw: dict[str, Any]) -> Payment:
    return projected(raw).payments[raw["id"]]


def went_back(held: dict[str, Any], *taken: dict[str, Any]) -> MoneyBack:
    """`taken`: its refunds and disputes."""
    return money_back(parsed(held, *taken))["ch_1"]


def test_a_session_for_nothing_has_neither_payment_nor_currency() -> None:
    raw = session(payment_status="no_payment_required", amount_total=0, currency=None)
    paid = payment(raw)
    assert (paid.status, paid.amount, paid.currency, paid.payment_intent) == (
        "no_payment_required",
        0,
        None,
        None,
    )
    assert paid.paid_at == 100
    state = projected(raw)
    assert state.purchases["cs_1"].paid
    (row,) = state.history
    assert (row.id, row.amount, row.currency) == ("cs_1", 0, "")


@pytest.mark.parametrize(
    ("fields", "status", "final"),
    [
        ({"status": "open", "payment_status": "unpaid"}, "unpaid", False),
        ({"status": "open", "payment_status": "no_payment_required"}, "unpaid", False),
        ({"status": "expired", "payment_status": "unpaid"}, "expired", True),
        ({"payment_status": "unpaid"}, "pending", False),
        ({"payment_status": "unpaid", "payment_intent": "pi_1"}, "pending", False),
        ({"payment_status": "unpaid", "payment_intent": intent(status="processing")}, "pending", False),
        (
            {
                "payment_status": "unpaid",
                "payment_intent": intent(
                    status="requires_payment_method", last_payment_error={"code": "card_declined"}
                ),
            },
            "failed",
            True,
        ),
        ({"payment_status": "unpaid", "payment_intent": intent(status="canceled")}, "failed", True),
    ],
)
def test_the_status_of_a_session(fields: dict[str, Any], status: str, final: bool) -> None:
    paid = payment(session(**fields))
    assert (paid.status, paid.final) == (status, final)


def test_only_a_completed_session_of_mode_payment_is_a_purchase() -> None:
    for fields in ({"status": "open"}, {"status": "expired"}, {"mode": "subscription"}, {"mode": "setup"}):
        assert not projected(session(**fields)).purchases


@pytest.mark.parametrize(
    ("refunded", "full"),
    [
        ({"refunded": True, "amount_refunded": 4999}, True),
        ({"refunded": False, "amount_refunded": 4999, "amount_captured": 4999}, True),
        ({"refunded": False, "amount_refunded": 4998, "amount_captured": 4999}, False),
        ({"amount_refunded": 0, "amount": 0, "amount_captured": 0}, False),
        ({}, False),
    ],
)
def test_full_and_partial_refunds(refunded: dict[str, Any], full: bool) -> None:
    assert went_back(charge(**refunded)).whole is full


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ([], "open"),
        (["warning_needs_response"], "open"),
        (["under_review"], "open"),
        (["a_status_of_next_year"], "open"),
        (["warning_closed"], "won"),
        (["won"], "won"),
        (["won", "needs_response"], "open"),
        (["won", "needs_response", "lost"], "lost"),
        (["appeal_needs_response"], "lost"),
        (["appeal_under_review"], "lost"),
        (["prevented"], "won"),
    ],
)
def test_where_disputes_stand(statuses: list[str], state: str) -> None:
    disputes = [dispute(status, id=f"dp_{number}") for number, status in enumerate(statuses)]
    assert went_back(charge(disputed=True), *disputes).dispute == state


@pytest.mark.parametrize(
    ("refunds", "amount_refunded", "refunded"),
    [
        ([("succeeded", 1000), ("failed", 3999)], 4999, 1000),
        ([("succeeded", 1000), ("failed", 3999)], 1000, 1000),
        ([("succeeded", 1000), ("canceled", 500)], 1500, 1000),
        ([("pending", 1000)], 1000, 1000),
        ([("failed", 100)], 3000, 3000),  # older refunds are not known: their sum proves nothing
    ],
)
def test_refunds_that_failed_do_not_count(
    refunds: list[tuple[str, int]], amount_refunded: int, refunded: int
) -> None:
    held = charge(amount_refunded=amount_refunded, refunded=amount_refunded == 4999, currency="eur")
    known = [refund(number, amount, status=status) for number, (status, amount) in enumerate(refunds)]
    back = went_back(held, *known)
    assert (back.refunded, back.whole) == (refunded, False)


@pytest.mark.parametrize(
    ("fields", "lost", "refunded", "whole"),
    [
        ({"status": "lost", "amount": 1000, "currency": "eur"}, 1000, 0, False),
        ({"status": "lost", "amount": 4999, "currency": "eur"}, 4999, 0, True),
        ({"status": "lost", "amount": 1000, "currency": "usd"}, 4999, 0, True),
        ({"status": "lost", "amount": 2000, "currency": "gbp"}, 2499, 0, False),
        ({"status": "lost", "amount": 4001, "currency": "gbp"}, 4999, 0, True),
        ({"status": "prevented", "amount": 4999, "currency": "eur"}, 0, 0, False),
        (
            {
                "status": "prevented",
                "amount": 4999,
                "currency": "eur",
                "payment_method_details": {"type": "card", "card": {"case_type": "resolution"}},
            },
            0,
            4999,
            True,
        ),
    ],
)
def test_what_a_dispute_takes(fields: dict[str, Any], lost: int, refunded: int, whole: bool) -> None:
    shown = {"presentment_amount": 4000, "presentment_currency": "gbp"}
    held = charge(currency="eur", disputed=True, presentment_details=shown)
    back = went_back(held, dispute(**fields))
    assert (back.lost, back.refunded, back.whole) == (lost, refunded, whole)


def test_a_charge_that_is_not_disputed_has_no_dispute() -> None:
    assert went_back(charge(disputed=False)).dispute is None


@pytest.mark.parametrize(
    ("fields", "ours"),
    [
        ({}, True),
        ({"customer": "cus_other"}, True),
        ({"metadata": {"router_id": "b" * 32}}, False),
        ({"metadata": {}, "client_reference_id": "b" * 32}, False),
        ({"metadata": {}}, True),
        ({"metadata": {}, "customer": {"id": "cus_1", "object": "customer"}}, True),
        ({"metadata": {}, "customer": "cus_other"}, False),
        ({"metadata": None, "customer": None}, False),
    ],
)
def test_whose_it_is(fields: dict[str, Any], ours: bool) -> None:
    assert bool(units_owned_by(US, "cus_1", units_of(session(**fields), 0.0))) is ours
    assert not units_owned_by(US, None, units_of(charge(customer=None, metadata={}), 0.0))


def subscription(**fields: Any) -> dict[str, Any]:
    return {
        "id": "sub_1",
        "object": "subscription",
        "status": "active",
        "items": {"data": [{"price": {"id": "price_1", "lookup_key": "alias"}, "current_period_end": 900}]},
        "metadata": {"price_alias": "old", "item": "premium"},
        **fields,
    }


def test_the_periods_end_is_the_items() -> None:
    assert plan(subscription()).current_period_end == 900
    row = plan(subscription(items={"data": [{"price": "price_1"}]}))
    assert (row.current_period_end, row.price_id, row.price_alias) == (None, "price_1", "old")


def test_the_price_of_today_counts_and_not_that_of_the_purchase() -> None:
    assert plan(subscription()).price_alias == "alias"


def test_past_due_since_comes_from_stripe_and_not_from_when_we_looked() -> None:
    unpaid = invoice(status="open", status_transitions={"finalized_at": 20})
    assert plan(subscription(), unpaid).past_due_since is None
    due = subscription(status="past_due", latest_invoice="in_1")
    assert plan(due, unpaid).past_due_since == 20
    no_final = {**unpaid, "status_transitions": {"finalized_at": None}}
    assert plan(due, no_final).past_due_since == 10
    due["items"]["data"][0]["current_period_start"] = 5
    assert plan(due).past_due_since == 5


@pytest.mark.parametrize("paid_id", ["in_0", "in_2"])
def test_of_the_invoices_of_one_second_the_latest_is_the_one_that_stripe_names(paid_id: str) -> None:
    """A plan that renewed twice in a second: paid from the balance, then unpaid."""
    of_plan = {"parent": {"subscription_details": {"subscription": "sub_1"}}}
    paid = {"status": "paid", "amount_paid": 0, "starting_balance": -700, "ending_balance": -200, **of_plan}
    unpaid = invoice(status="open", status_transitions={"finalized_at": 20}, **of_plan)
    due = subscription(status="past_due", latest_invoice="in_1")
    due["items"]["data"][0]["current_period_start"] = 5
    assert plan(due, unpaid, {**invoice(**paid), "id": paid_id}).past_due_since == 20


@pytest.mark.parametrize("first_id", ["in_0", "in_3"])
def test_of_the_invoices_of_one_second_the_oldest_is_the_first_of_the_plan(first_id: str) -> None:
    """An item was added at once, its invoice not paid; the first invoice was, after the next renewal."""
    of_plan = {"parent": {"subscription_details": {"subscription": "sub_1"}}}
    first = invoice(status="paid", amount_paid=499, billing_reason="subscription_create", **of_plan)
    item = invoice(status="open", status_transitions={"finalized_at": 10}, **of_plan)
    renewal = invoice(status="open", status_transitions={"finalized_at": 90}, **of_plan)
    due = subscription(status="past_due", latest_invoice="in_2")
    found = plan(due, {**first, "id": first_id}, item, {**renewal, "id": "in_2", "created": 90})
    assert found.past_due_since == 10


def test_pauses_and_ends() -> None:
    pause = {"behavior": "void"}
    row = plan(subscription(pause_collection=pause, cancel_at=5, cancel_at_period_end=True, trial_end=4))
    assert row.paused_collection
    assert row.cancel_at_period_end
    assert (row.cancel_at, row.trial_end) == (5, 4)


def test_an_invoices_subscription_and_payments() -> None:
    raw = invoice(
        parent={"subscription_details": {"subscription": {"id": "sub_1"}}},
        payments={
            "data": [
                {"payment": {"type": "payment_intent", "payment_intent": "pi_1"}},
                {"payment": {"type": "charge", "charge": "ch_1"}},
                {"payment": {"type": "payment_intent", "payment_intent": {"id": "pi_2"}}},
            ]
        },
    )
    found = parsed(raw).invoices["in_1"]
    assert found.subscription == "sub_1"
    assert found.payment_intents == ("pi_1", "pi_2")
    nothing = parsed(invoice()).invoices["in_1"]
    assert nothing.subscription is None
    assert nothing.payment_intents == ()


def test_drafts_are_no_history() -> None:
    assert not projected(invoice(status="draft")).history
    (row,) = projected(invoice(status="open", created=3, amount_due=499)).history
    assert (row.status, row.amount, row.date, row.kind) == ("unpaid", 499, 3, "invoice")


def test_a_hundred_lines_of_the_longest_fit_into_one_answer_on_the_bus() -> None:
    """The bus takes 1 MiB; Stripe's texts may have thousands of characters."""
    address = "https://pay.stripe.com/" + "x" * 2020
    raw = invoice(
        status="paid",
        amount_paid=499,
        lines={"data": [{"description": "€" * 5000}]},
        hosted_invoice_url=address,
        invoice_pdf=address,
    )
    (line,) = projected(raw).history
    assert line.description
    reported = [{"description": line.description, "url": line.receipt_url, "pdf": line.invoice_pdf}] * 100
    assert len(encode_table({"transactions": reported})) < 900_000
    marks = {"router_id": US, "item": "€" * 5000}
    others = projected(bought(1, refunds={"data": [refund(1, 1)]}) | {"metadata": marks}).history
    assert [row.kind for row in others] == ["payment", "refund"]
    assert {row.description for row in others} == {line.description}


# -- all objects together ------------------------------------------------------------------------

NOTHING = Title("", "")
SETTINGS = Settings(
    products={"i": Product("i", NOTHING, NOTHING, ("backup",))},
    prices={"p": Price("p", "i", "price_1", 4999, "eur", None)},
    features={"backup": Feature("backup", NOTHING, NOTHING)},
)


def projected(*roots: dict[str, Any], archived: list[TransactionRow] | None = None) -> State:
    return project(parsed(*roots), SETTINGS, 1000, last_seen={}, previous={}, archived=archived or ())


def plan(raw: dict[str, Any], *others: dict[str, Any]) -> Subscription:
    return projected(raw, *others).subscriptions["sub_1"]


def bought(number: int = 1, **of_charge: Any) -> dict[str, Any]:
    """A paid session with everything that is expanded in it."""
    made = charge(id=f"ch_{number}", payment_intent=f"pi_{number}", created=number, **of_charge)
    paid = intent(id=f"pi_{number}", status="succeeded", latest_charge=made, created=number)
    return session(id=f"cs_{number}", created=number, payment_intent=paid)


def dispute(status: str, **fields: Any) -> dict[str, Any]:
    whole = {"id": "dp_1", "object": "dispute", "created": 200, "charge": "ch_1", "payment_intent": "pi_1"}
    return whole | {"amount": 4999, "currency": "eur", "status": status} | fields


def refund(number: int, amount: int, **fields: Any) -> dict[str, Any]:
    whole = {"id": f"re_{number}", "object": "refund", "created": 160 + number, "charge": "ch_1"}
    return whole | {"amount": amount, "currency": "eur", "status": "succeeded"} | fields


def test_the_order_in_which_objects_came_decides_nothing() -> None:
    roots = [
        bought(1, amount_refunded=300, refunds={"data": [refund(1, 300)]}),
        dispute("won"),
        subscription(latest_invoice="in_1"),
        {"id": "in_1", "object": "invoice", "status": "open", "created": 3, "amount_due": 499},
    ]
    states = [asdict(projected(*order)) for order in permutations(roots)]
    for state in states:
        state.pop("parsed")
    assert all(state == states[0] for state in states)
    assert states[0]["entitlements"]["backup"]["unlocked"]


def test_a_refund_that_the_charge_lists_no_more_stays_in_the_history() -> None:
    """Stripe lists the newest ten in a charge."""
    state = projected(bought(1, amount_refunded=2, refunds={"data": [refund(2, 1)]}), refund(1, 1))
    assert [row.id for row in state.history] == ["pi_1", "re_1", "re_2"]


def test_a_payment_intent_of_a_session_or_an_invoice_is_no_payment_of_its_own() -> None:
    paid_by = {"data": [{"payment": {"payment_intent": "pi_2"}}]}
    charged = invoice(status="paid", amount_paid=4999, payments=paid_by)
    state = projected(bought(1), intent(id="pi_2", status="succeeded"), charged)
    assert sorted(row.id for row in state.history) == ["in_1", "pi_1"]
    assert list(state.payments) == ["cs_1"]
    assert [paid.id for paid in [state.payment_of("pi_1")] if paid is not None] == ["cs_1"]


def test_the_diff_has_payments_then_subscriptions_then_features() -> None:
    after = projected(bought(1), subscription())
    news = diff(State(), after, SETTINGS, 1000)
    assert [kind for kind, _ in news] == ["payment", "subscription", "feature"]
    assert dict(news[0][1]) == {
        "id": "cs_1",
        "payment_intent": "pi_1",
        "status": "paid",
        "amount": 4999,
        "currency": "eur",
        "item": "i",
    }
    assert diff(after, projected(subscription(), bought(1)), SETTINGS, 1000) == []


def test_a_ledger_that_is_rebuilt_sends_no_news_of_old_payments_but_of_their_changes() -> None:
    before = projected(bought(1))
    late = 1 + 3 * 86_400

    def payments(old: State, new: State, *, now: int | None = late) -> list[str]:
        found = diff(old, new, SETTINGS, now, rebuilding=True)
        return [payload["status"] for kind, payload in found if kind == "payment"]

    assert payments(State(), before) == []
    assert payments(State(), before, now=late - 1) == ["paid"]
    assert payments(State(), before, now=None) == ["paid"]
    assert payments(before, projected(bought(1), dispute("lost"))) == ["disputed"]


def test_archived_lines_are_in_the_history_until_their_objects_are_stored_again() -> None:
    old = TransactionRow("pi_1", 1, "payment", 4999, "eur", "paid", "i")
    other = TransactionRow("pi_0", 0, "payment", 1, "eur", "paid", "long ago")
    state = projected(bought(1, refunded=True, amount_refunded=4999), archived=[old, other])
    assert [(row.id, row.status) for row in state.history] == [("pi_0", "paid"), ("pi_1", "refunded")]
    assert diff(projected(archived=[old]), projected(bought(1)), SETTINGS, 1000)[0][0] == "feature"


def test_what_is_archived_stays_in_the_history_and_unlocks_what_it_did() -> None:
    roots = [bought(number) for number in range(1, 9)]
    roots[0] = bought(1, refunded=True, amount_refunded=4999, refunds={"data": [refund(1, 4999)]})
    lost = [dispute("lost", id="dp_2", charge="ch_2", payment_intent="pi_2")]
    before = projected(*roots, *lost, subscription())
    old = archive(before, before.objects.keys(), SETTINGS, kept=3)
    assert {"cs_1", "pi_1", "ch_1", "re_1", "cs_2", "dp_2", "cs_5"} <= old.gone
    assert not {"cs_6", "pi_6", "ch_6", "sub_1"} & old.gone
    left = {name: raw for name, raw in before.objects.items() if name not in old.gone}
    left |= {raw["id"]: raw for raw in old.purchases}
    after = project(parse_objects(left), SETTINGS, 1000, last_seen={}, previous={}, archived=old.rows)
    assert after.history == before.history
    assert after.purchases == before.purchases
    assert after.subscriptions == before.subscriptions
    assert after.entitlements == before.entitlements
    again = archive(after, after.objects.keys(), SETTINGS, kept=3)
    assert not again.gone


def test_what_changed_lately_is_not_archived_nor_anything_that_belongs_to_it() -> None:
    roots = [bought(number) for number in range(1, 9)]
    state = projected(*roots)
    resting = state.objects.keys() - {"ch_1"}
    old = archive(state, resting, SETTINGS, kept=3)
    assert not {"cs_1", "pi_1", "ch_1"} & old.gone
    assert "cs_2" in old.gone


def test_ended_subscriptions_are_archived_but_the_newest_and_those_that_features_name() -> None:
    ended = [subscription(id=f"sub_{number}", created=number, status="canceled") for number in range(1, 7)]
    state = projected(*ended, subscription(id="sub_7", created=0))
    named = {"backup": replace(state.entitlements["backup"], source="sub_2")}
    state = replace(state, entitlements=named)
    old = archive(state, state.objects.keys() - {"sub_3"}, SETTINGS, kept=4)
    assert old.gone == {"sub_1", "sub_4"}


LATER_REFUND = {"amount_refunded": 300, "refunds": {"data": [refund(7, 300)]}}


@pytest.mark.parametrize(
    ("polled", "is_stored"),
    [
        (bought(1), False),
        (bought(1, **LATER_REFUND), True),
        (bought(1, disputed=True), True),
        (bought(2, disputed=True), False),
        (bought(2, disputed=True, **LATER_REFUND), True),
        (bought(9), True),
        (bought(6), True),
        (session(id="cs_0", created=0, mode="subscription"), False),
        (session(id="cs_9", created=9, mode="subscription"), True),
        (subscription(id="sub_0", created=0, status="canceled"), False),
        (subscription(id="sub_0", created=0), True),
        (subscription(id="sub_9", created=9, status="canceled"), True),
    ],
    ids=[
        "says the same",
        "was refunded since",
        "was disputed since",
        "its dispute is known to be lost",
        "refunded after the lost dispute",
        "was never stored",
        "is stored",
        "old session of a subscription",
        "new session of a subscription",
        "old subscription that ended",
        "old subscription that runs",
        "new subscription that ended",
    ],
)
def test_polling_does_not_store_again_what_is_archived(polled: dict[str, Any], is_stored: bool) -> None:
    lost = dispute("lost", id="dp_2", charge="ch_2", payment_intent="pi_2")
    ended = [subscription(id=f"sub_{number}", created=number, status="canceled") for number in range(2, 6)]
    before = projected(*(bought(number) for number in range(1, 9)), lost, *ended)
    old = archive(before, before.objects.keys(), SETTINGS, kept=3)
    left = {name: raw for name, raw in before.objects.items() if name not in old.gone}
    left |= {raw["id"]: raw for raw in old.purchases}
    state = project(parse_objects(left), SETTINGS, 1000, last_seen={}, previous={}, archived=old.rows)
    objects = stored_form(units_of(polled, 0.0))
    expected = objects if is_stored else []
    assert not_archived(polled, objects, state, SETTINGS, kept=3) == expected


def test_polling_does_not_store_an_archived_invoice_again() -> None:
    """A session and a subscription contain an invoice, without its charges."""
    raw = invoice(status="paid", created=3, amount_paid=499)
    (row,) = projected(raw).history
    for known in (row, replace(row, status="refunded")):
        assert not not_archived(raw, [raw], projected(archived=[known]), SETTINGS)
    unpaid = replace(row, status="unpaid")
    for state in (projected(), projected(raw), projected(archived=[unpaid])):
        assert not_archived(raw, [raw], state, SETTINGS) == [raw]


def test_the_dispute_of_an_archived_purchase_is_known() -> None:
    for dispute_state, known in (("lost", "lost"), ("lost_in_part", "lost"), ("won", "won"), (None, None)):
        purchase = asdict(Purchase("cs_9", "price_1", dispute=dispute_state))  # type: ignore[arg-type]
        archived = {"id": purchase.pop("id"), "object": "stripe_payments.purchase", "purchase": purchase}
        assert projected(archived).dispute("cs_9") == known


def test_rows_of_ledgers_of_schema_3_stand_for_objects_that_are_not_stored() -> None:
    purchase = Purchase("cs_9", "price_1", "p", "i", paid=True, paid_at=7)
    held = Subscription("sub_9", "active", "price_2", current_period_end=2000)

    def archived(kind: str, row: Any) -> dict[str, Any]:
        fields = asdict(row)
        return {"id": fields.pop("id"), "object": f"stripe_payments.{kind}", kind: fields}

    state = projected(archived("purchase", purchase), archived("subscription", held))
    assert state.purchases == {"cs_9": purchase}
    assert state.subscriptions == {"sub_9": held}
    assert state.entitlements["backup"].unlocked
    assert not state.history


def test_parsing_and_projecting_is_a_sequence_however_many_objects_there_are() -> None:
    """No module is called for a single object: the way through the modules is the same for one purchase and
    for a hundred. `raw_fields`, which reads single fields, is the parser's.
    """

    def way(count: int) -> list[str]:
        roots = [bought(n, refunds={"data": [refund(n, 1, charge=f"ch_{n}")]}) for n in range(count)]
        roots += [dispute("won", id=f"dp_{n}", charge=f"ch_{n}") for n in range(count)]
        for n in range(count):
            paid_by = {"data": [{"status": "paid", "payment": {"payment_intent": f"pi_{count + n}"}}]}
            of_plan = {"subscription_details": {"subscription": f"sub_{n}"}}
            made = charge(id=f"ch_{count + n}", payment_intent=f"pi_{count + n}")
            paid = invoice(id=f"in_{n}", status="paid", amount_paid=499, payments=paid_by, parent=of_plan)
            roots += [made, paid, subscription(id=f"sub_{n}", latest_invoice=f"in_{n}")]
        objects = {raw["id"]: raw for root in roots for raw in stored_form(units_of(root, 0.0))}
        modules: list[str] = []

        def record(frame: FrameType, event: str, argument: object) -> None:
            entered = frame if event == "call" else frame.f_back if event == "return" else None
            package, _, module = str(entered.f_globals["__name__"] if entered else "").rpartition(".")
            if package == "stripe_payments.sync" and module not in ("raw_fields", *modules[-1:]):
                modules.append(module)

        sys.setprofile(record)
        try:
            state = project(parse_objects(objects), SETTINGS, 1000, last_seen={}, previous={})
        finally:
            sys.setprofile(None)
        assert len(state.history) == 4 * count
        return modules

    assert way(100) == way(1)
    assert way(1)[:2] == ["stripe_objects", "projection"]
    assert set(way(1)[2:]) == {"payment_facts", "plan_facts", "projection"}


def test_thousands_of_objects_take_no_time_that_anyone_notices() -> None:
    """Everything is projected at each change: it must grow no faster than the objects do."""
    import time

    def seconds(count: int) -> float:
        chance = Random(1)
        roots = [bought(number, note=chance.random()) for number in range(count)]
        units = [unit for root in roots for unit in units_of(root, 0.0)]
        objects = {raw["id"]: raw for raw in stored_form(units)}
        start = time.thread_time()  # on a busy machine the clock on the wall says little
        project(parse_objects(objects), SETTINGS, 1000, last_seen={}, previous={})
        return time.thread_time() - start

    seconds(100)
    assert min(seconds(2000) for _ in range(3)) < 40 * min(seconds(200) for _ in range(3))
