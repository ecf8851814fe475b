"""Moments known in advance: asked about shortly afterwards, locked on time."""

from typing import Any

from stripe_payments.entitlements import Entitlement, Subscription
from stripe_payments.sync.boundaries import CHARGED_AFTER, SETTLED_AFTER, Boundaries, Due, looks

NOW = 1_750_000_000
END = NOW + 1000


def sub(status: str = "active", **fields: Any) -> Subscription:
    fields.setdefault("current_period_end", END)
    return Subscription("sub_1", status, "price_1", **fields)


def feature(until: int | None, *, unlocked: bool = True) -> Entitlement:
    return Entitlement("backup", unlocked, "sub_1", "plan", until, "active")


def test_a_renewal_is_looked_at_when_it_begins_and_when_it_has_been_charged() -> None:
    assert looks([sub()]) == [END + SETTLED_AFTER, END + CHARGED_AFTER]
    assert looks([sub("trialing", trial_end=NOW + 5)]) == [NOW + 5 + SETTLED_AFTER, NOW + 5 + CHARGED_AFTER]


def test_an_end_is_looked_at_once() -> None:
    assert looks([sub(cancel_at_period_end=True)]) == [END + SETTLED_AFTER]
    assert looks([sub(cancel_at=NOW + 5)]) == [NOW + 5 + SETTLED_AFTER]
    assert looks([sub(cancel_at=END + 5000)])[0] == END + 5000 + SETTLED_AFTER
    assert looks([sub("canceled"), sub("unpaid"), sub(current_period_end=None)]) == []


def test_nothing_is_due_while_the_time_is_unknown() -> None:
    assert Boundaries(0).due(None, [sub()], [feature(NOW)]) == Due(look=False, recompute=False, next_in=None)


def test_each_boundary_is_due_once() -> None:
    boundaries = Boundaries(10)
    assert boundaries.due(NOW, [sub()], [feature(END)]) == Due(look=False, recompute=False, next_in=1000)
    assert boundaries.due(END, [sub()], [feature(END)]) == Due(look=False, recompute=True, next_in=70)
    assert boundaries.due(END + 70, [sub()], [feature(END)]) == Due(
        look=True, recompute=False, next_in=CHARGED_AFTER - SETTLED_AFTER
    )
    assert not boundaries.due(END + 71, [sub()], [feature(END)]).look
    assert boundaries.due(END + 5000, [sub()], [feature(END)]) == Due(
        look=True, recompute=False, next_in=None
    )


def test_a_renewal_that_was_seen_to_begin_is_looked_at_again_when_it_has_been_charged() -> None:
    """By then the subscription speaks of its next end only."""
    boundaries = Boundaries(10)
    boundaries.due(END - 3000, [sub()], [])
    renewed = sub(current_period_end=END + 30 * 86_400)
    assert boundaries.due(END + 500, [sub()], []).look
    assert boundaries.due(END + 600, [renewed], []).next_in == CHARGED_AFTER + 10 - 600
    assert boundaries.due(END + CHARGED_AFTER + 10, [renewed], []).look
    assert not boundaries.due(END + CHARGED_AFTER + 20, [renewed], []).look


def test_what_passed_before_the_time_was_known_is_the_first_rounds_business() -> None:
    boundaries = Boundaries(0)
    assert not boundaries.due(END + 10_000, [sub()], []).look
    assert boundaries.due(NOW, [sub()], []).next_in == 1000 + SETTLED_AFTER, "the clock was set back"


def test_locked_features_and_those_for_ever_have_no_end() -> None:
    boundaries = Boundaries(0)
    assert boundaries.due(NOW, [], [feature(None), feature(END, unlocked=False)]).next_in is None
