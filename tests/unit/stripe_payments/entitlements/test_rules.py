"""The table of states, line by line, and the laws that hold for every history."""

import dataclasses
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.entitlements import (
    Entitlement,
    FeatureChange,
    ManualGrant,
    Purchase,
    Subscription,
    changes,
    entitlements,
)
from stripe_payments.settings import Settings
from tests.unit.stripe_payments.entitlements.catalog_and_histories import (
    DAY,
    GRACE,
    NOW,
    OFFLINE,
    SETTINGS,
    History,
    histories,
    times,
)


def sub(status: str = "active", **fields: Any) -> Subscription:
    fields.setdefault("id", "sub_1")
    fields.setdefault("current_period_end", NOW + 10 * DAY)
    fields.setdefault("price_id", "price_small")
    return Subscription(status=status, **fields)


def bought(**fields: Any) -> Purchase:
    fields.setdefault("id", "cs_1")
    fields.setdefault("paid", True)
    return Purchase(price_id="price_once", **fields)


def decide(
    *sources: Subscription | Purchase | ManualGrant,
    now: int | None = NOW,
    last_seen: int | None = NOW,
    previous: dict[str, Entitlement] | None = None,
    settings: Settings = SETTINGS,
) -> dict[str, Entitlement]:
    """`last_seen`: of all subscriptions."""
    subscriptions = [source for source in sources if isinstance(source, Subscription)]
    seen = {} if last_seen is None else dict.fromkeys((one.id for one in subscriptions), last_seen)
    return entitlements(
        subscriptions,
        [source for source in sources if isinstance(source, Purchase)],
        settings,
        now,
        last_seen=seen,
        previous=previous or {},
        grants=[source for source in sources if isinstance(source, ManualGrant)],
    )


P = NOW + 10 * DAY

TABLE: list[tuple[str, Subscription | Purchase | ManualGrant, bool, str, int | None]] = [
    ("active", sub(), True, "active", P),
    ("trialing", sub("trialing", trial_end=NOW + 3 * DAY), True, "trialing", NOW + 3 * DAY),
    ("trialing without trial_end", sub("trialing"), True, "trialing", P),
    ("incomplete", sub("incomplete"), False, "incomplete", None),
    ("incomplete_expired", sub("incomplete_expired"), False, "expired", None),
    ("unpaid", sub("unpaid"), False, "unpaid", None),
    ("canceled", sub("canceled"), False, "canceled", None),
    ("paused", sub("paused"), False, "paused", None),
    ("a status of tomorrow", sub("resting"), False, "unknown", None),
    ("pause_collection", sub(paused_collection=True), True, "active", P),
    ("pause_collection past_due", sub("past_due", paused_collection=True), True, "grace", P),
    (
        "paused after dunning",
        sub("paused", paused_after_dunning=True, past_due_since=NOW),
        True,
        "grace",
        NOW + GRACE * DAY,
    ),
    (
        "paused after dunning, too long",
        sub("paused", paused_after_dunning=True, past_due_since=NOW - 8 * DAY),
        False,
        "past_due",
        NOW - DAY,
    ),
    ("cancel_at_period_end", sub(cancel_at_period_end=True), True, "ending", P),
    ("cancel_at, flexible billing", sub(cancel_at=P), True, "ending", P),
    ("cancel_at before the period's end", sub(cancel_at=NOW + DAY), True, "ending", NOW + DAY),
    ("cancel_at after the next renewal", sub(cancel_at=P + 99 * DAY), True, "active", P),
    ("both, the earlier counts", sub(cancel_at=NOW + 1, cancel_at_period_end=True), True, "ending", NOW + 1),
    ("trial that will not renew", sub("trialing", cancel_at_period_end=True), True, "ending", P),
    ("canceled at its end already", sub(cancel_at=NOW), False, "canceled", NOW),
    ("past_due just now", sub("past_due", past_due_since=NOW), True, "grace", NOW + GRACE * DAY),
    ("past_due too long", sub("past_due", past_due_since=NOW - 8 * DAY), False, "past_due", NOW - DAY),
    ("past_due since unknown", sub("past_due"), True, "grace", P),
    (
        "past_due and canceled in grace",
        sub("past_due", past_due_since=NOW, cancel_at=NOW + DAY),
        True,
        "grace",
        NOW + DAY,
    ),
    ("without a period", sub(current_period_end=None), True, "active", None),
    ("paid once", bought(), True, "paid", None),
    ("paid, partly refunded", bought(fully_refunded=False), True, "paid", None),
    ("refunded", bought(fully_refunded=True), False, "refunded", None),
    ("dispute open", bought(dispute="open"), True, "paid", None),
    ("dispute won", bought(dispute="won"), True, "paid", None),
    ("dispute lost", bought(dispute="lost"), False, "disputed", None),
    ("bank debit on its way", bought(paid=False), False, "pending", None),
    ("granted", ManualGrant("a"), True, "granted", None),
    ("granted for a while", ManualGrant("a", NOW + DAY), True, "granted", NOW + DAY),
    ("granted, over", ManualGrant("a", NOW - DAY), False, "expired", NOW - DAY),
]


@pytest.mark.parametrize(
    ("source", "unlocked", "reason", "until"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_table_of_states(
    source: Subscription | Purchase | ManualGrant, unlocked: bool, reason: str, until: int | None
) -> None:
    got = decide(source)["a"]
    assert (got.unlocked, got.reason, got.until) == (unlocked, reason, until)
    assert got.source == ("manual" if isinstance(source, ManualGrant) else source.id)


def test_every_feature_has_an_answer() -> None:
    assert decide() == {name: Entitlement(name) for name in "abc"}
    assert decide(sub())["b"] == Entitlement("b")
    assert decide(previous={"gone": Entitlement("gone", True, "sub_9")})["gone"] == Entitlement("gone")
    assert decide(bought())["b"].plan == "once"


def test_the_ends_are_sharp() -> None:
    grace = sub("past_due", past_due_since=NOW - GRACE * DAY)
    assert decide(grace, now=NOW - 1)["a"].unlocked
    assert not decide(grace, now=NOW)["a"].unlocked
    ending = sub(cancel_at_period_end=True)
    assert decide(ending, now=P - 1)["a"].unlocked
    assert not decide(ending, now=P)["a"].unlocked
    # An end that was announced needs no contact to come true.
    assert decide(ending, now=P, last_seen=NOW)["a"].reason == "canceled"


def test_no_grace_at_all() -> None:
    settings = dataclasses.replace(SETTINGS, grace_days=0)
    assert not decide(sub("past_due", past_due_since=NOW), settings=settings)["a"].unlocked


def test_silence_is_not_an_end_until_offline_days_after_the_period() -> None:
    limit = P + OFFLINE * DAY
    for now in (P, P + DAY, limit - 1):
        got = decide(sub(), now=now, last_seen=NOW)["a"]
        assert (got.unlocked, got.until) == (True, P)
    assert decide(sub(), now=limit, last_seen=NOW)["a"] == Entitlement(
        "a", False, "sub_1", "small", P, "offline"
    )
    # Stripe answered after the period's end and still said active: the tolerance starts there.
    assert decide(sub(), now=limit, last_seen=P + DAY)["a"].unlocked
    assert not decide(sub(), now=limit + DAY, last_seen=P + DAY)["a"].unlocked


def test_a_purchase_needs_no_contact_ever() -> None:
    assert decide(bought(), now=NOW + 9000 * DAY, last_seen=None)["a"].unlocked


def test_without_trusted_time_nothing_locks_for_age() -> None:
    for source in (
        sub(current_period_end=1),
        sub("past_due", past_due_since=1),
        sub(cancel_at=1),
        sub("trialing", trial_end=1),
        ManualGrant("a", 1),
    ):
        assert decide(source, now=None)["a"].unlocked, source


@pytest.mark.parametrize(
    ("source", "when"),
    [
        (sub("past_due", past_due_since=NOW), NOW + 20 * DAY),
        (sub(cancel_at_period_end=True), P + DAY),
        (sub(), P + 40 * DAY),
        (ManualGrant("a", NOW + DAY), NOW + 2 * DAY),
    ],
)
def test_a_reboot_without_the_time_does_not_unlock_what_age_had_locked(
    source: Subscription | ManualGrant, when: int
) -> None:
    locked = decide(source, now=when, last_seen=NOW)
    assert not locked["a"].unlocked
    assert decide(source, now=None, last_seen=NOW, previous=locked) == locked
    # … but what Stripe says next counts at once.
    if isinstance(source, Subscription):
        renewed = sub(id="sub_1", current_period_end=when + 30 * DAY)
        assert decide(renewed, now=None, last_seen=NOW, previous=locked)["a"].unlocked


def test_what_was_bought_outlives_the_catalog() -> None:
    gone = dataclasses.replace(SETTINGS, prices={})
    by_name = sub(price_id="price_old", plan="small")
    assert decide(by_name, settings=gone)["a"].unlocked
    by_alias = sub(price_id="price_old", price_alias="large_m")
    assert decide(by_alias)["b"].plan == "large"
    # The plan itself is gone: what it had unlocked stays as long as it is paid, no longer.
    nameless = dataclasses.replace(SETTINGS, prices={}, plans={}, products={})
    before = decide(sub(plan="small"))
    assert decide(sub(plan="small"), settings=nameless, previous=before)["a"] == before["a"]
    assert not decide(sub("canceled", plan="small"), settings=nameless, previous=before)["a"].unlocked
    paid = decide(bought())
    assert decide(bought(), settings=nameless, previous=paid) == paid


def test_a_source_that_unlocks_nothing_known_harms_nothing() -> None:
    assert decide(sub(price_id="price_strange", plan="strange")) == decide()


def best(*sources: Subscription | Purchase | ManualGrant) -> str:
    return decide(*sources)["a"].source


def test_the_best_of_several_sources_is_named() -> None:
    monthly, later = sub(id="sub_m"), sub(id="sub_l", current_period_end=P + DAY)
    ending = sub(id="sub_e", cancel_at_period_end=True, current_period_end=P + 99 * DAY)
    grace = sub("past_due", id="sub_g", past_due_since=NOW)
    assert best(monthly, bought(), ending, grace, later) == "cs_1"
    assert best(monthly, ending, grace, later) == "sub_l"
    assert best(ending, grace) == "sub_e"
    assert best(grace, sub("canceled")) == "sub_g"
    assert best(sub("canceled", id="sub_c"), grace, bought(fully_refunded=True)) == "sub_g"
    assert (
        best(sub("canceled", id="sub_c"), sub("unpaid", id="sub_u"), bought(fully_refunded=True)) == "sub_u"
    )
    assert best(sub(id="sub_y"), sub(id="sub_x")) == "sub_x"
    assert best(ManualGrant("a"), monthly) == "manual"


@pytest.mark.parametrize(
    ("ended", "named"),
    [
        ([sub("canceled", id="sub_a", ended_at=NOW - 9), sub("canceled", id="sub_b", ended_at=NOW)], "sub_b"),
        ([sub("canceled", id="sub_a", ended_at=NOW), sub("canceled", id="sub_b", ended_at=NOW - 9)], "sub_a"),
        # its end has come, and Stripe has not been polled since
        ([sub("canceled", id="sub_a", ended_at=NOW - 9), sub(id="sub_b", cancel_at=NOW)], "sub_b"),
        (
            [
                bought(id="cs_a", fully_refunded=True, paid_at=NOW - 9),
                bought(id="cs_b", fully_refunded=True, paid_at=NOW),
            ],
            "cs_b",
        ),
        ([sub("incomplete_expired", id="sub_a", ended_at=NOW), ManualGrant("a", until=NOW)], "manual"),
    ],
)
def test_a_lock_names_what_ended_last(ended: list[Subscription | Purchase | ManualGrant], named: str) -> None:
    assert best(*ended) == best(*reversed(ended)) == named


# Every history.


def of(history: History, now: int | None, **fields: Any) -> dict[str, Entitlement]:
    subscriptions, purchases, grants = history
    return decide(*subscriptions, *purchases, *grants, now=now, **fields)


@given(histories, times, times, st.randoms(use_true_random=False))
def test_the_order_of_the_sources_never_matters(
    history: History, now: int | None, contact: int | None, shuffle: random.Random
) -> None:
    expected = of(history, now, last_seen=contact)
    for sources in history:
        shuffle.shuffle(sources)
    assert of(history, now, last_seen=contact) == expected


@given(histories, times, times)
def test_deciding_again_changes_nothing(history: History, now: int | None, contact: int | None) -> None:
    once = of(history, now, last_seen=contact)
    assert of(history, now, last_seen=contact, previous=once) == once


def in_good_standing(source: Subscription | Purchase, now: int) -> bool:
    """Paid by Stripe's own words, fetched again: no end announced, no fault, not silent."""
    if isinstance(source, Purchase):
        return source.paid and not source.fully_refunded and source.dispute != "lost"
    return (
        source.status in ("active", "trialing")
        and (source.cancel_at is None or source.cancel_at > now)
        and not source.cancel_at_period_end
    )


def features_named(source: Subscription | Purchase) -> tuple[str, ...]:
    price = SETTINGS.price(source.price_id)
    return SETTINGS.features_of(price) if price is not None else ()


@given(histories, st.integers(NOW - 60 * DAY, NOW + 60 * DAY))
def test_what_is_paid_is_never_locked(history: History, now: int) -> None:
    got = of(history, now, last_seen=now)
    sources: list[Subscription | Purchase] = [*history[0], *history[1]]
    for source in sources:
        if in_good_standing(source, now):
            for feature in features_named(source):
                assert got[feature].unlocked, (source, got[feature])


@given(histories, times, times)
def test_what_is_not_paid_is_never_unlocked(history: History, now: int | None, contact: int | None) -> None:
    got = of(history, now, last_seen=contact)
    sources: dict[str, Subscription | Purchase] = {}
    sources |= {subscription.id: subscription for subscription in history[0]}
    sources |= {purchase.id: purchase for purchase in history[1]}
    granted = {grant.feature: grant for grant in history[2]}
    for feature, entitlement in got.items():
        if not entitlement.unlocked:
            continue
        if entitlement.source == "manual":
            until = granted[feature].until
            assert until is None or now is None or now < until
            continue
        source = sources[entitlement.source]
        if isinstance(source, Purchase):
            assert in_good_standing(source, 0)
            continue
        assert source.status in ("active", "trialing", "past_due")
        if now is not None:
            assert source.cancel_at is None or now < source.cancel_at
            if source.status == "past_due" and source.past_due_since is not None:
                assert now < source.past_due_since + GRACE * DAY
            if source.current_period_end is not None and source.status != "past_due":
                heard = max(source.current_period_end, source.trial_end or 0, contact or 0)
                assert now < heard + OFFLINE * DAY


@given(histories, st.integers(NOW - 60 * DAY, NOW + 60 * DAY), times)
def test_losing_the_time_neither_locks_nor_unlocks(history: History, now: int, contact: int | None) -> None:
    """The router decided with a trusted clock, then rebooted and has none."""
    if contact is not None:
        contact = min(contact, now)
    before = of(history, now, last_seen=contact)
    after = of(history, None, last_seen=contact, previous=before)
    for feature, entitlement in before.items():
        if entitlement.unlocked:
            assert after[feature].unlocked
        elif len(history[0]) + len(history[1]) + len(history[2]) == 1:
            assert not after[feature].unlocked


@given(histories, times, st.integers(0, 90 * DAY))
def test_time_alone_never_unlocks(history: History, now: int | None, later: int) -> None:
    if now is None:
        return
    early, late = of(history, now, last_seen=NOW), of(history, now + later, last_seen=NOW)
    for feature, entitlement in late.items():
        assert early[feature].unlocked or not entitlement.unlocked


BACKUP = Entitlement("backup", True, "cs_1", "product", 900, "paid")


def test_only_real_changes_of_features_are_changes() -> None:
    locked = Entitlement("phone")
    (first,) = changes({}, {"backup": BACKUP, "phone": locked})
    assert first == FeatureChange(None, BACKUP)
    assert first.flipped
    assert first.notable
    both = {"backup": BACKUP, "phone": locked}
    assert changes(both, both) == []
    longer = replace(BACKUP, until=999)
    (change,) = changes(both, {"backup": longer, "phone": locked})
    assert (change.before, change.after) == (BACKUP, longer)
    assert not change.flipped
    assert not change.notable
    assert {name: change.payload()[name] for name in ("until", "flipped", "notable")} == {
        "until": 999,
        "flipped": False,
        "notable": False,
    }


def test_a_feature_that_is_missing_is_locked() -> None:
    (change,) = changes({"backup": BACKUP}, {})
    assert change == FeatureChange(BACKUP, Entitlement("backup"))
    assert change.payload() == {
        "feature": "backup",
        "unlocked": False,
        "source": "",
        "plan": "",
        "reason": "none",
    }
