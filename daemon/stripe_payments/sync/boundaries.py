"""Moments that are known in advance: a period ends, a trial ends, a cancellation or the end of grace comes.
Pure.

Most of what happens to a subscription happens then, so Stripe is asked shortly afterwards, whatever the usual
interval is; and what ends by itself locks on time, whether or not Stripe can be asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stripe_payments.entitlements import Entitlement, Subscription, announced_end, period_end_of

SETTLED_AFTER: Final = 60
"""Seconds that Stripe is given for what it does at the end of a period or trial."""

CHARGED_AFTER: Final = 3900
"""Seconds after which a renewal has been charged: its invoice stays a draft for about an hour.
https://docs.stripe.com/billing/subscriptions/webhooks#understand
"""

_AHEAD: Final = 2 * CHARGED_AFTER
"""Seconds for which a moment stays known although the subscription speaks of it no more: until the renewal
has been charged, for somebody who looks once an hour.
"""

_RUNNING: Final = frozenset({"active", "trialing", "past_due"})


def looks(subscriptions: Iterable[Subscription]) -> list[int]:
    """When Stripe will have news of these subscriptions; epoch seconds."""
    moments = []
    for held in subscriptions:
        if held.status not in _RUNNING:
            continue
        end, announced = period_end_of(held), announced_end(held)
        if announced is not None:
            moments.append(announced + SETTLED_AFTER)
        if end is not None and (announced is None or end < announced):
            moments += [end + SETTLED_AFTER, end + CHARGED_AFTER]
    return moments


@dataclass(frozen=True, slots=True)
class Due:
    """What is due now, and in how many seconds something will be (None: nothing is known of)."""

    look: bool
    recompute: bool
    next_in: float | None


class Boundaries:
    """Remembers up to when everything has been looked at. `spread`: seconds by which this router is later
    than the others whose periods end at the same moment.
    """

    __slots__ = ("_ahead", "_done", "spread")

    def __init__(self, spread: float) -> None:
        self.spread = spread
        self._done: float | None = None
        self._ahead: tuple[int, ...] = ()

    def due(
        self, now: int | None, subscriptions: Iterable[Subscription], features: Iterable[Entitlement]
    ) -> Due:
        """`now`: trusted epoch seconds; nothing is due while it is unknown. What is given as due counts as
        done.
        """
        if now is None:
            return Due(look=False, recompute=False, next_in=None)
        if self._done is None or self._done > now:
            self._done = now  # the first round after a start looks at everything anyway
        moments = {*looks(subscriptions), *self._ahead}
        ends = [float(held.until) for held in features if held.unlocked and held.until is not None]
        asks = [moment + self.spread for moment in moments]
        look = any(self._done < moment <= now for moment in asks)
        recompute = any(self._done < moment <= now for moment in ends)
        self._done = now
        # one that has renewed speaks of its next end only; the charge for this one is still to come
        self._ahead = tuple(sorted(m for m in moments if m + self.spread > now and m <= now + _AHEAD))
        return Due(look, recompute, min((m - now for m in (*ends, *asks) if m > now), default=None))
