"""What a payment's page says: the state in which a buyer finds the payment. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

State = Literal[
    "waiting",
    "open",
    "paid",
    "pending",
    "failed",
    "expired",
    "canceled",
    "refunded",
    "partially_refunded",
    "disputed",
    "unknown",
]
Tone = Literal["good", "wait", "warn", "bad"]

TONES: Final[dict[State, Tone]] = {
    "waiting": "wait",
    "open": "warn",
    "paid": "good",
    "pending": "wait",
    "failed": "bad",
    "expired": "warn",
    "canceled": "warn",
    "refunded": "good",
    "partially_refunded": "good",
    "disputed": "warn",
    "unknown": "warn",
}

_FOLLOW: Final[dict[State, int]] = {"waiting": 1, "open": 2, "pending": 30}

_SETTLED: Final[dict[str, State]] = {
    "paid": "paid",
    "no_payment_required": "paid",
    "failed": "failed",
    "expired": "expired",
    "refunded": "refunded",
    "partially_refunded": "partially_refunded",
    "disputed": "disputed",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """state, and the seconds after which the page looks again (0: it is settled)."""

    state: State
    follow: int


def outcome(
    status: str,
    *,
    final: bool,
    checkout_open: bool,
    asked_stripe: bool,
    left_checkout: bool,
    unlocked: bool,
) -> Outcome:
    """The state for a payment's `status` (DESIGN.md's words).

    final: nothing more happens by itself (after a declined card Stripe's page still takes another one);
    checkout_open: Stripe's payment page can still be paid on; asked_stripe: what is known comes from an
    answer of Stripe's just now; left_checkout: the buyer came by the cancel link; unlocked: what was
    bought is in force.
    """
    state = _SETTLED.get(status)
    if state == "paid":
        return Outcome("paid", 0 if unlocked else 1)
    if state is not None and not (state == "failed" and checkout_open and not final):
        return Outcome(state, 0)
    if status == "pending" and not checkout_open:
        return Outcome("pending", _FOLLOW["pending"])
    if left_checkout:
        return Outcome("canceled", 0)
    # Whoever comes by the success link has paid, as far as Stripe's page is concerned: "not paid" is said
    # only when Stripe itself has just said it.
    state = "open" if checkout_open and asked_stripe else "waiting"
    return Outcome(state, _FOLLOW[state])
