"""The state that a return page shows for a payment. Pure."""

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
Tone = Literal["good", "wait", "clock", "info", "warn", "bad"]

TONES: Final[dict[State, Tone]] = {
    "waiting": "wait",
    "open": "warn",
    "paid": "good",
    "pending": "clock",
    "failed": "bad",
    "expired": "warn",
    "canceled": "info",
    "refunded": "good",
    "partially_refunded": "good",
    "disputed": "warn",
    "unknown": "warn",
}

_FOLLOW: Final[dict[State, int]] = {"waiting": 1, "open": 2, "pending": 30}

_FINAL: Final[dict[str, State]] = {
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
    """`follow`: seconds until the page polls again, 0 for a final state."""

    state: State
    follow: int


def outcome(
    status: str,
    *,
    final: bool,
    checkout_open: bool,
    fetched: bool,
    left_checkout: bool,
    unlocked: bool,
) -> Outcome:
    """Return the state for a payment's `status` (that of the bus method `payment_status`).

    final: the status will not change (after a declined card Stripe's page accepts another one);
    checkout_open: Stripe's payment page still accepts a payment; fetched: the status was just fetched from
    Stripe; left_checkout: the buyer used the cancel link; unlocked: all purchased features are unlocked.
    """
    state = _FINAL.get(status)
    if state == "paid":
        return Outcome("paid", 0 if unlocked else 1)
    if state is not None and not (state == "failed" and checkout_open and not final):
        return Outcome(state, 0)
    if status == "pending" and not checkout_open:
        return Outcome("pending", _FOLLOW["pending"])
    if left_checkout:
        return Outcome("canceled", 0)
    # Stripe redirects to the success link after a payment: "not paid" is shown only if Stripe just said so.
    state = "open" if checkout_open and fetched else "waiting"
    return Outcome(state, _FOLLOW[state])
