"""What a router in hub mode has unlocked, by the hub's last answer and the time."""

from __future__ import annotations

from typing import Any

import pytest

from stripe_payments.hub_client.hub_state import HubState, entitlements_at, next_end, read_state
from stripe_payments.rfc3339 import format_time

DAY = 86_400
END = 1_800_000_000
CONTACT = END - 10 * DAY
CATALOG: dict[str, Any] = {"plans": [], "products": [], "features": {}, "tax_behavior": None}
SHOWN: dict[str, Any] = {"subscriptions": [], "transactions": [], "next": None, "catalog": CATALOG}
BODY: dict[str, Any] = {"features": {}, "poll_after": 900, "offline_days": 30, "en": SHOWN, "it": SHOWN}


def state(reason: str, *, until: int | None = END) -> HubState:
    held = {
        "unlocked": True,
        "source": "sub_1",
        "plan": "premium",
        "until": None if until is None else format_time(until),
        "reason": reason,
    }
    return read_state({**BODY, "features": {"backups": held}}, '"1"')


@pytest.mark.parametrize(
    ("reason", "problem", "locks", "why"),
    [
        ("active", None, 30, "offline"),
        ("trialing", None, 30, "offline"),
        ("ending", None, 0, "canceled"),
        ("grace", None, 0, "past_due"),
        ("granted", None, 0, "expired"),
        ("active", "credential_refused", 30, "offline"),
        ("active", "router_revoked", 0, "expired"),
        ("ending", "router_revoked", 0, "canceled"),
    ],
)
def test_what_ends_without_the_hub(reason: str, problem: str | None, locks: int, why: str) -> None:
    held = state(reason)
    end = END + locks * DAY
    (before,) = entitlements_at(held, end - 1, CONTACT, problem).values()
    (after,) = entitlements_at(held, end, CONTACT, problem).values()
    assert (before.unlocked, before.reason) == (True, reason)
    assert (after.unlocked, after.reason, after.until) == (False, why, END)
    assert next_end(held, END - DAY, CONTACT, problem) == end
    (unknown,) = entitlements_at(held, None, CONTACT, problem).values()
    assert unknown.unlocked, "nothing locks for age while the time is unknown"


def test_what_the_hub_still_calls_active_after_its_day_counts_from_the_last_contact() -> None:
    contact = END + 5 * DAY
    (held,) = entitlements_at(state("active"), END + 34 * DAY, contact, None).values()
    assert held.unlocked
    (held,) = entitlements_at(state("active"), END + 35 * DAY, contact, None).values()
    assert not held.unlocked


@pytest.mark.parametrize("problem", [None, "router_revoked", "credential_refused"])
def test_what_was_bought_for_ever_never_ends(problem: str | None) -> None:
    held = state("paid", until=None)
    assert entitlements_at(held, END + 4000 * DAY, CONTACT, problem)["backups"].unlocked
    assert next_end(held, END, CONTACT, problem) is None


def test_a_replaced_router_has_nothing() -> None:
    (held,) = entitlements_at(state("paid", until=None), None, CONTACT, "router_replaced").values()
    assert (held.unlocked, held.reason) == (False, "canceled")


@pytest.mark.parametrize(
    "change",
    [
        {"features": None},
        {"features": {"backups": {"unlocked": "yes"}}},
        {"poll_after": -1},
        {"poll_after": "soon"},
        {"it": None},
        {"en": {**SHOWN, "transactions": None}},
        {"en": {**SHOWN, "catalog": {"plans": [{"id": "premium"}]}}},
        {"events": [{"number": 1, "kind": "feature", "payload": {}}]},
        {"purchases": [{"payment_id": "cs_1", "price": None, "state": "processing", "created": ""}]},
    ],
)
def test_what_is_no_state_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_state({**BODY, **change}, '"1"')
