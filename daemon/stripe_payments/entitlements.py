"""What has been paid for, as which feature is unlocked: a pure function of purchases, settings and time.

No IO and no clock. What one source (a subscription, a purchase, an administrator's grant) says of each
feature that it is for:

    source                                          feature    reason              until
    ----------------------------------------------  ---------  ------------------  -------------------------
    subscription, by `status`, first match from the top:
      pause_collection set, with lock_paused         locked     paused              –
      paused (after dunning it is as past_due)       locked     paused              –
      canceled                                       locked     canceled            –
      unpaid                                         locked     unpaid              –
      incomplete                                     locked     incomplete          –
      incomplete_expired                             locked     expired             –
      any status that Stripe may invent              locked     unknown             –
      the whole money of the period went back: by
        a refund / by a dispute that was lost        locked     refunded, disputed  –
      active, its first payment, a bank debit, is
        processing (unless trust_pending_debits)     locked     pending             –
      active, the period's payment failed and
        Stripe voided its invoice                    locked     unpaid              –
      cancel_at, or cancel_at_period_end and the
        period's end, is behind us                   locked     canceled            that end
      past_due, within grace_days                    unlocked   grace               end of grace, or the
                                                                                     end above if earlier
      past_due, after them                           locked     past_due            end of grace
      active, trialing: will end with this period    unlocked   ending              that end
      active                                         unlocked   active              end of the period
      trialing                                       unlocked   trialing            end of the trial
      … not heard of for offline_days past `until`   locked     offline             end of the period
      a change of plan is not paid (pending while its bank debit is processing, unless
      trust_pending_debits; unpaid once that failed): what is new is locked for that reason, and what was
      paid before is as above, past_due or not, until the end of the period that was paid
    purchase
      not (yet) paid: a bank debit on its way        locked     pending             –
      nothing of it left, by a dispute that was lost locked     disputed            –
      refunded in full                               locked     refunded            –
      paid; also partly refunded or lost, dispute
        open, won                                    unlocked   paid                for ever
    manual grant                                     unlocked   granted             its end, or for ever
      its end is behind us                           locked     expired             its end
    nothing                                          locked     none                –

Several sources for one feature: the best one is named. Unlocked beats locked; among the unlocked, the one
that lasts (for ever, then renewing, then ending, then grace; then the later `until`); among the locked, the
one that a payment ends, and of those that ended for the same reason the one that ended last; the source's id
decides what is left, so that the order of the arguments never does.

Time. `now` is the trusted time, None while the router knows none: then nothing locks for age. A lock for age
that took place is not undone by forgetting the time (a reboot): `previous` proves how late it already was. An
end that Stripe has announced (a cancellation, the end of grace) holds without any contact; not hearing of a
renewal is not an end, and only offline_days past the end of the period it counts as one.

What was bought does not depend on what is sold today: features come from the price's id, else the alias that
the purchase recorded, else the plan's or product's name, and if the catalog knows none of these any more,
from what the same source had unlocked before.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from stripe_payments.settings import Settings

__all__ = [
    "LOCKED_REASONS",
    "MANUAL",
    "UNLOCKED_REASONS",
    "Entitlement",
    "FeatureChange",
    "ManualGrant",
    "Purchase",
    "Subscription",
    "announced_end",
    "changes",
    "entitlements",
    "grace_end",
    "period_end_of",
]

MANUAL: Final = "manual"
"""The source of what an administrator granted."""

_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class UnpaidChange:
    """A change of plan that Stripe made and that is not paid: `state` pending while its payment, a bank
    debit, is processing, unpaid after it failed. Times are epoch seconds.

    `kept`: Stripe's id and our alias of the prices that were paid before it; `new`: of those that are not
    paid; `kept_until`: the end of the period that was paid, None if it is the current one's; `nothing_else`:
    no other payment is owed.
    """

    state: Literal["pending", "unpaid"]
    kept: tuple[tuple[str, str | None], ...]
    new: tuple[tuple[str, str | None], ...]
    kept_until: int | None = None
    nothing_else: bool = True


@dataclass(frozen=True, slots=True)
class Subscription:
    """What counts of a subscription at Stripe. Times are epoch seconds.

    `past_due_since` is when the oldest payment that is owed fell due (None while unknown: grace then lasts
    until the end of the period that was not paid). `paused_after_dunning`: the status is paused because
    Stripe gave up collecting the payment that is owed. `returned` says that nothing is left of what was
    paid for the current period, and which way it went back; a partial refund and an open dispute are
    neither. `owed`: Stripe calls it active although its money has not arrived: its first payment, a bank
    debit, is processing (pending), or the payment of the current period failed and Stripe voided the
    invoice (unpaid). `more_prices`: Stripe's id and our alias of what its further items cost; the features of
    all plans among its items are unlocked. `unpaid_change`: what of its items is not paid;
    `nothing_charged`: all of them have the quantity 0, and nothing is unlocked. `ended_at`: when Stripe ended
    it.
    """

    id: str
    status: str
    price_id: str
    price_alias: str | None = None
    plan: str | None = None
    current_period_end: int | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    trial_end: int | None = None
    paused_collection: bool = False
    past_due_since: int | None = None
    paused_after_dunning: bool = False
    returned: Literal["refunded", "disputed"] | None = None
    owed: Literal["pending", "unpaid"] | None = None
    more_prices: tuple[tuple[str, str | None], ...] = ()
    unpaid_change: UnpaidChange | None = None
    nothing_charged: bool = False
    ended_at: int | None = None

    @property
    def prices(self) -> tuple[tuple[str, str | None], ...]:
        """Stripe's id and our alias of the price of each item."""
        return ((self.price_id, self.price_alias), *self.more_prices)

    @property
    def past_due(self) -> bool:
        """Whether a payment is owed that grace is given for."""
        return self.status == "past_due" or (self.status == "paused" and self.paused_after_dunning)


@dataclass(frozen=True, slots=True)
class Purchase:
    """What counts of a one-time purchase, by its Checkout session (``cs_…``).

    `paid` includes a total of nothing (``no_payment_required``); `dispute` is the worst one's state, `lost`
    only where nothing of the payment is left; `paid_at` epoch seconds.
    """

    id: str
    price_id: str
    price_alias: str | None = None
    product: str | None = None
    paid: bool = False
    fully_refunded: bool = False
    dispute: Literal["open", "won", "lost_in_part", "lost"] | None = None
    paid_at: int | None = None


@dataclass(frozen=True, slots=True)
class ManualGrant:
    """A feature that an administrator unlocked; `until` epoch seconds, None for ever. `note`: why, in their
    own words; `granted_at` epoch seconds, None if the time was not known then. Neither decides anything.
    """

    feature: str
    until: int | None = None
    note: str = ""
    granted_at: int | None = None


@dataclass(frozen=True, slots=True)
class Entitlement:
    """One feature: whether it is unlocked, by what (``sub_…``, ``cs_…``, ``manual``, nothing), until when and
    why.

    `plan` is the plan's or product's name; `until` epoch seconds, None where no end is known; `reason` as in
    the module's table.
    """

    feature: str
    unlocked: bool = False
    source: str = ""
    plan: str = ""
    until: int | None = None
    reason: str = "none"


@dataclass(frozen=True, slots=True)
class FeatureChange:
    """A feature before and after; `before` is None for one that was not known."""

    before: Entitlement | None
    after: Entitlement

    @property
    def flipped(self) -> bool:
        """Whether it was unlocked or locked; False if only its description changed."""
        return self.after.unlocked != (self.before is not None and self.before.unlocked)

    @property
    def notable(self) -> bool:
        """Whether listeners are notified: it flipped, or has another source or reason (not: a later
        `until`).
        """
        before = self.before or Entitlement(self.after.feature)
        return (self.after.unlocked, self.after.source, self.after.reason) != (
            before.unlocked,
            before.source,
            before.reason,
        )

    def payload(self) -> dict[str, object]:
        """What the outbox keeps of it (kind ``feature``), without what is the default: all that one purchase
        unlocks should fit in one page. Absent `flipped` and `notable` are true, an absent `until` unknown.
        """
        after = self.after
        payload: dict[str, object] = {
            "feature": after.feature,
            "unlocked": after.unlocked,
            "source": after.source,
            "plan": after.plan,
            "reason": after.reason,
        }
        if after.until is not None:
            payload["until"] = after.until
        for name in ("flipped", "notable"):
            if not getattr(self, name):
                payload[name] = False
        return payload


def changes(before: Mapping[str, Entitlement], after: Mapping[str, Entitlement]) -> list[FeatureChange]:
    """What differs, by feature. A feature that is new and locked for no reason is no change; one that is
    missing from `after` is locked.
    """
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name) or Entitlement(name)
        if new != (old or Entitlement(name)):
            found.append(FeatureChange(old, new))
    return found


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one source says, before time is looked at: unlocked with `reason`, until `end` if one is known.

    From `end` on it is locked with `reason_after`. `shown` is the `until` that people see. `ended`: when what
    is locked ended, or about when, to choose the latest one.
    """

    source: str
    plan: str
    unlocked: bool
    reason: str
    shown: int | None = None
    end: int | None = None
    reason_after: str = ""
    ended: int | None = None


_UNLOCKED_RANK: Final = {"granted": 0, "paid": 0, "active": 1, "trialing": 1, "ending": 2, "grace": 3}
_LOCKED_RANK: Final = {
    "past_due": 0,
    "unpaid": 1,
    "incomplete": 2,
    "paused": 3,
    "offline": 4,
    "pending": 5,
    "disputed": 6,
    "refunded": 7,
    "canceled": 8,
    "expired": 9,
    "unknown": 10,
    "none": 11,
}
UNLOCKED_REASONS: Final = frozenset(_UNLOCKED_RANK)
LOCKED_REASONS: Final = frozenset(_LOCKED_RANK)
"""Every reason that there is; those of `_FOR_AGE` may be a lock for age."""

_OVER: Final = frozenset({"disputed", "refunded", "canceled", "expired"})
"""Reasons that no payment for the same source undoes."""

_FOR_AGE: Final = frozenset({"past_due", "canceled", "offline", "expired", "unpaid"})


def entitlements(
    subscriptions: Iterable[Subscription],
    purchases: Iterable[Purchase],
    settings: Settings,
    now: int | None,
    *,
    last_seen: Mapping[str, int],
    previous: Mapping[str, Entitlement],
    grants: Iterable[ManualGrant] = (),
    must_not_lock: Collection[str] = (),
) -> dict[str, Entitlement]:
    """The entitlement of every feature of the settings, and of every one that `previous` or a source names.

    `now`: trusted epoch seconds or None. `last_seen`: when Stripe last showed a subscription, epoch
    seconds by its id.
    `previous`: the last result; it decides only what neither the time nor the catalog says any more.
    `must_not_lock`: features, because the ledger is being rebuilt and may lack their purchase.
    """
    claims: dict[str, list[_Claim]] = {name: [] for name in settings.features}
    for name in previous:
        claims.setdefault(name, [])
    for subscription in subscriptions:
        seen = last_seen.get(subscription.id)
        for part, prices in _paid_and_unpaid(subscription, settings):
            claim = _of_subscription(part, settings, seen)
            _spread(claims, claim, settings, previous, prices, subscription.plan)
    for purchase in purchases:
        claim = _of_purchase(purchase)
        prices = ((purchase.price_id, purchase.price_alias),)
        _spread(claims, claim, settings, previous, prices, purchase.product)
    for grant in grants:
        claims.setdefault(grant.feature, []).append(_of_grant(grant))
    decided = {}
    for name, of_feature in sorted(claims.items()):
        at_least = now if now is not None else _proven_time(previous.get(name), settings, last_seen)
        settled = [(_settle(name, claim, at_least), claim.ended) for claim in of_feature]
        best, _ = min(settled, key=_order, default=(Entitlement(name), None))
        before = previous.get(name)
        keeps = name in must_not_lock and before is not None and before.unlocked and not best.unlocked
        decided[name] = before if keeps and before is not None else best
    return decided


def _spread(
    claims: dict[str, list[_Claim]],
    claim: _Claim,
    settings: Settings,
    previous: Mapping[str, Entitlement],
    prices: Iterable[tuple[str, str | None]],
    name: str | None,
) -> None:
    """Lay a source's claim to the features that it was bought for, at one or several `prices` (Stripe's id,
    our alias).
    """
    known = [settings.price(price_id) or settings.price(alias or "") for price_id, alias in prices]
    names = [price.of for price in known if price is not None] or ([name] if name else [])
    found = [sold for sold in map(settings.sellable, dict.fromkeys(names)) if sold is not None]
    granted = {feature: sold.name for sold in reversed(found) for feature in sold.features}
    if not found:
        # no longer in the catalog at all: it stays what it was, as long as it is paid
        before = [held for held in previous.values() if held.source == claim.source]
        plan = name or (before[0].plan if before else "")
        granted = {held.feature: plan for held in before}
    for feature, plan in granted.items():
        claims.setdefault(feature, []).append(replace(claim, plan=plan))


def _paid_and_unpaid(
    subscription: Subscription, settings: Settings
) -> list[tuple[Subscription, tuple[tuple[str, str | None], ...]]]:
    """The subscription and its prices; with a change that is not paid, the plan before it, as long as that
    was paid, and what is new. None of it if no item is charged.
    """
    if subscription.nothing_charged:
        return []
    change = subscription.unpaid_change
    if change is None or (change.state == "pending" and settings.trust_pending_debits):
        return [(replace(subscription, unpaid_change=None), subscription.prices)]
    kept = replace(subscription, current_period_end=change.kept_until or subscription.current_period_end)
    return [(kept, change.kept), (replace(subscription, owed=change.state), change.new)]


def _of_subscription(subscription: Subscription, settings: Settings, last_seen: int | None) -> _Claim:
    def locked(reason: str) -> _Claim:
        ended = None if reason == "expired" else subscription.ended_at or subscription.current_period_end
        return _Claim(subscription.id, "", unlocked=False, reason=reason, ended=ended)

    def until(end: int | None, reason: str, reason_after: str) -> _Claim:
        return _Claim(subscription.id, "", True, reason, end, end, reason_after)

    if subscription.paused_collection and settings.lock_paused:
        return locked("paused")
    status = subscription.status
    if status not in ("active", "trialing") and not subscription.past_due:
        return locked(_LOCKING_STATUS.get(status, "unknown"))
    if subscription.returned is not None:
        return locked(subscription.returned)
    if subscription.owed == "unpaid" or (subscription.owed and not settings.trust_pending_debits):
        return locked(subscription.owed)

    canceled = announced_end(subscription)
    period_end = period_end_of(subscription)
    if subscription.past_due:
        grace = grace_end(subscription, settings)
        if canceled is not None and (grace is None or canceled <= grace):
            return until(canceled, "grace", "canceled")
        return until(grace, "grace", "past_due")

    if canceled is not None and (period_end is None or canceled <= period_end):
        return until(canceled, "ending", "canceled")
    change = subscription.unpaid_change
    if change is not None and change.state == "unpaid" and change.kept_until is not None:
        return until(change.kept_until, status, "unpaid")
    # It renews. Silence past the end of the period is tolerated for offline_days; an answer since then starts
    # again. People are shown the end of the period: it stays the same however often Stripe answers.
    offline = None
    if period_end is not None:
        offline = max(period_end, last_seen or 0) + settings.offline_days * _DAY
    if canceled is not None and (offline is None or canceled <= offline):
        return replace(until(canceled, status, "canceled"), shown=period_end)
    return replace(until(offline, status, "offline"), shown=period_end)


_LOCKING_STATUS: Final = {
    "paused": "paused",
    "canceled": "canceled",
    "unpaid": "unpaid",
    "incomplete": "incomplete",
    "incomplete_expired": "expired",
}


def period_end_of(subscription: Subscription) -> int | None:
    """When what was paid, or is tried for free, ends unless it is renewed; epoch seconds."""
    if subscription.status == "trialing" and subscription.trial_end is not None:
        return subscription.trial_end
    return subscription.current_period_end


def announced_end(subscription: Subscription) -> int | None:
    """When it is set to end: cancel_at (flexible billing sets no other), or with its period."""
    ends = [subscription.cancel_at]
    if subscription.cancel_at_period_end:
        ends.append(period_end_of(subscription))
    return min((end for end in ends if end is not None), default=None)


def grace_end(subscription: Subscription, settings: Settings) -> int | None:
    """When the patience with a subscription that is past_due ends; None for every other, or if unknown."""
    if not subscription.past_due:
        return None
    change = subscription.unpaid_change
    if change is not None and change.nothing_else:
        return change.kept_until or subscription.current_period_end
    if subscription.past_due_since is None:
        return subscription.current_period_end
    return subscription.past_due_since + settings.grace_days * _DAY


def _of_purchase(purchase: Purchase) -> _Claim:
    if not purchase.paid:
        return _Claim(purchase.id, "", unlocked=False, reason="pending")
    if purchase.dispute == "lost":
        return _Claim(purchase.id, "", unlocked=False, reason="disputed", ended=purchase.paid_at)
    if purchase.fully_refunded:
        return _Claim(purchase.id, "", unlocked=False, reason="refunded", ended=purchase.paid_at)
    return _Claim(purchase.id, "", unlocked=True, reason="paid")


def _of_grant(grant: ManualGrant) -> _Claim:
    return _Claim(MANUAL, "", True, "granted", grant.until, grant.until, "expired")


def _proven_time(
    previous: Entitlement | None, settings: Settings, last_seen: Mapping[str, int]
) -> int | None:
    """The earliest possible time now, by a lock for age that a trusted clock decided; None without."""
    if previous is None or previous.unlocked or previous.until is None or previous.reason not in _FOR_AGE:
        return None
    if previous.reason == "offline":
        return max(previous.until, last_seen.get(previous.source, 0)) + settings.offline_days * _DAY
    return previous.until


def _settle(feature: str, claim: _Claim, at_least: int | None) -> Entitlement:
    if claim.unlocked and claim.end is not None and at_least is not None and at_least >= claim.end:
        ended = claim.shown if claim.reason_after == "offline" else claim.end
        return Entitlement(feature, False, claim.source, claim.plan, ended, claim.reason_after)
    return Entitlement(feature, claim.unlocked, claim.source, claim.plan, claim.shown, claim.reason)


def _order(settled: tuple[Entitlement, int | None]) -> tuple[bool, int, int, bool, int, str]:
    """Of an entitlement and the time when its source ended. Smallest is best; see the module's docstring."""
    entitlement, ended = settled
    latest = (entitlement.until or ended or 0) if entitlement.reason in _OVER else 0
    ranks = _UNLOCKED_RANK if entitlement.unlocked else _LOCKED_RANK
    ends = entitlement.reason == "granted" and entitlement.until is not None
    return (
        not entitlement.unlocked,
        ranks["ending" if ends else entitlement.reason],
        -latest,
        entitlement.until is not None,
        -(entitlement.until or 0),
        entitlement.source,
    )
