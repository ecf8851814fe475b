"""What may be bought or changed: the rules alone, without Stripe and ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stripe_payments.billing.eligibility import (
    ChangeProblem,
    Ownership,
    already_owned,
    change_problem,
    permanent_features,
)
from stripe_payments.entitlements import MANUAL, Entitlement, Purchase, Subscription
from stripe_payments.settings import settings_from_uci
from tests.unit.stripe_payments.engine import CATALOG, MONTHLY, ONE_TIME

SETTINGS = settings_from_uci(CATALOG)
BUSINESS = "price_business_monthly"
SUBSCRIBED = Subscription("sub_1", "active", "price_at_stripe", MONTHLY, "premium", current_period_end=2000)
BOUGHT = Purchase("cs_1", "price_at_stripe", ONE_TIME, "router_os_premium", paid=True)
PLAN = {"id": "si_1", "price": {"id": "price_at_stripe", "lookup_key": MONTHLY}}
RAW: dict[str, Any] = {"currency": "eur", "items": {"data": [{"id": "si_1", "quantity": 1}]}}


@pytest.mark.parametrize("status", ["active", "trialing", "past_due", "unpaid", "paused"])
def test_a_second_plan_is_charged_as_well(status: str) -> None:
    ownership = Ownership(subscriptions=[replace(SUBSCRIBED, status=status)])
    owned = already_owned(SETTINGS.prices[BUSINESS], ownership, SETTINGS)
    assert owned is not None
    assert owned["subscription"] == "sub_1"
    assert already_owned(SETTINGS.prices[ONE_TIME], ownership, SETTINGS) is None


def test_after_a_failed_first_payment_a_plan_can_be_bought() -> None:
    ownership = Ownership(subscriptions=[replace(SUBSCRIBED, status="incomplete")])
    assert already_owned(SETTINGS.prices[BUSINESS], ownership, SETTINGS) is None


@pytest.mark.parametrize(
    ("changed", "permanent"),
    [
        ({}, True),
        ({"paid": False}, False),
        ({"fully_refunded": True}, False),
        ({"dispute": "open"}, True),
        ({"dispute": "lost"}, False),
    ],
)
def test_what_a_purchase_unlocks_is_permanent_unless_the_money_went_back(
    changed: dict[str, Any], permanent: bool
) -> None:
    ownership = Ownership(purchases=[replace(BOUGHT, **changed)])
    assert permanent_features(ownership, SETTINGS) == ({"updates", "backups"} if permanent else set())
    assert (already_owned(SETTINGS.prices[MONTHLY], ownership, SETTINGS) is not None) == permanent


def test_a_grant_is_permanent_if_it_has_no_end() -> None:
    granted = Entitlement("backups", unlocked=True, source=MANUAL)
    ownership = Ownership(features={"backups": granted, "updates": replace(granted, until=2000)})
    assert permanent_features(ownership, SETTINGS) == {"backups"}


@pytest.mark.parametrize(
    ("row", "raw", "price", "problem"),
    [
        ({}, {}, BUSINESS, None),
        ({"status": "trialing"}, {}, BUSINESS, None),
        ({"status": "past_due"}, {}, BUSINESS, "payment_due"),
        ({"status": "paused"}, {}, BUSINESS, "paused"),
        ({"status": "canceled"}, {}, BUSINESS, "ended"),
        ({"status": "incomplete"}, {}, BUSINESS, "incomplete"),
        ({"paused_collection": True}, {}, BUSINESS, "paused"),
        ({"cancel_at_period_end": True}, {}, BUSINESS, None),
        ({}, {"pending_update": {"expires_at": 1}}, BUSINESS, "pending_change"),
        ({}, {"schedule": "sub_sched_1"}, BUSINESS, "scheduled"),
        ({}, {"items": {"data": [{"quantity": 2}]}}, BUSINESS, None),
        ({}, {"items": {"data": [PLAN, {"price": {"id": "price_of_something_else"}}]}}, BUSINESS, None),
        ({}, {"items": {"data": [{}, {}]}}, BUSINESS, "several_items"),
        ({}, {"items": {"data": [PLAN, PLAN]}}, BUSINESS, "several_items"),
        ({}, {}, ONE_TIME, "one_time"),
        ({}, {}, MONTHLY, "same_price"),
        ({}, {"currency": "usd"}, BUSINESS, "other_currency"),
    ],
)
def test_why_a_plan_cannot_be_changed(
    row: dict[str, Any], raw: dict[str, Any], price: str, problem: ChangeProblem | None
) -> None:
    subscription = replace(SUBSCRIBED, **row)
    assert change_problem(subscription, {**RAW, **raw}, SETTINGS.prices[price], SETTINGS) == problem
