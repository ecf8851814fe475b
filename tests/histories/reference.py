"""What docs/states.md says of a feature, in code of its own: written from that page, not from the daemon's.

`facts_of` reads the situation out of everything that the simulated Stripe knows (all its charges, refunds,
disputes and invoices, no expansions, no ledger); `decide` applies the page's rules to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from simulator.stripe_cloud.account import Account

DAY: Final = 86_400

Json = dict[str, Any]
Decision = tuple[bool, str, int | None]
"""(unlocked, reason, until in epoch seconds or None)."""


@dataclass(frozen=True)
class Options:
    """The options of `stripe-payments.main` that the page names."""

    grace_days: int = 7
    lock_paused: bool = False
    trust_pending_debits: bool = False


@dataclass(frozen=True)
class Once:
    """A one-time purchase. `paid`: the money arrived, or the total was nothing; `left`: what of it neither a
    refund nor a lost dispute took; `lost`: what disputes took. Amounts in minor units.
    """

    id: str
    paid: bool
    total: int = 0
    left: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Bill:
    """An invoice of a plan, as far as it matters. `due`: when it was to be paid; `money`: what charges paid,
    or cash; `credit`: what the customer's balance paid; `earned`: what it added to that balance; `back`:
    refunded or lost; `lost`: in disputes; `attempted`: a payment was tried; `balance`: the customer's balance
    after it, negative for credit; `change`: it is for a change of plan; `prices`: ids of those on its lines,
    `credited`: of those that it credits; `credited_until`: the end of the latest period that it credits.
    """

    id: str
    created: int
    status: str
    due: int
    total: int = 0
    money: int = 0
    credit: int = 0
    earned: int = 0
    back: int = 0
    lost: int = 0
    attempted: bool = False
    balance: int = 0
    change: bool = False
    prices: frozenset[str] = frozenset()
    credited: frozenset[str] = frozenset()
    credited_until: int | None = None

    @property
    def paid(self) -> int:
        return self.money + self.credit


@dataclass(frozen=True)
class Plan:
    """A subscription; `bills` oldest first. After an upgrade that is not paid: `kept` is the plan before it,
    which ends for good at `end` if `ends`, and owes nothing else if `owes_upgrade`; `wanting` is what is new.
    """

    id: str
    status: str
    start: int
    end: int
    features: frozenset[str] = frozenset()
    trial_end: int | None = None
    cancel_at: int | None = None
    at_period_end: bool = False
    collection_paused: bool = False
    gave_up: bool = False
    bills: tuple[Bill, ...] = field(default=())
    kept: bool = False
    ends: bool = False
    owes_upgrade: bool = False
    wanting: Literal["pending", "unpaid"] | None = None

    @property
    def period_end(self) -> int:
        return self.trial_end if self.status == "trialing" and self.trial_end else self.end

    @property
    def announced_end(self) -> int | None:
        ends = [self.cancel_at, self.period_end if self.at_period_end else None]
        return min((end for end in ends if end is not None), default=None)


def decide(
    plans: Iterable[tuple[Plan, Collection[str]]],
    purchases: Iterable[tuple[Once, Collection[str]]],
    features: Iterable[str],
    now: int,
    options: Options,
) -> dict[str, Decision]:
    """The decision on every feature. Stripe has just answered, and nothing was granted by hand."""
    said: dict[str, list[Decision]] = {name: [(False, "none", None)] for name in features}
    for plan, unlocks in plans:
        for name in unlocks:
            said[name].append(of_plan(plan, now, options))
    for purchase, unlocks in purchases:
        for name in unlocks:
            said[name].append(of_purchase(purchase))
    return {name: min(decisions, key=_preference) for name, decisions in said.items()}


# -- "Several sources for one feature" -------------------------------------------------------------

_LASTING: Final = (("paid", "granted"), ("active", "trialing"), ("ending",), ("grace",))
_BY_PAYING: Final = (
    *("past_due", "unpaid", "incomplete", "paused", "offline", "pending"),
    *("disputed", "refunded", "canceled", "expired", "unknown", "none"),
)


def _preference(decision: Decision) -> tuple[bool, int, bool, int]:
    """Smallest first: unlocked, then what lasts longest; locked, then what can be resolved by paying."""
    unlocked, reason, until = decision
    if unlocked:
        rank = next(rank for rank, reasons in enumerate(_LASTING) if reason in reasons)
    else:
        rank = _BY_PAYING.index(reason)
    return not unlocked, rank, until is not None, -(until or 0)


# -- one-time purchases ----------------------------------------------------------------------------


def of_purchase(purchase: Once) -> Decision:
    if not purchase.paid:
        return False, "pending", None
    if purchase.total and not purchase.left:
        return False, "disputed" if purchase.lost else "refunded", None
    return True, "paid", None


# -- plans -----------------------------------------------------------------------------------------


def of_plan(plan: Plan, now: int, options: Options) -> Decision:
    if plan.collection_paused and options.lock_paused:
        return False, "paused", None
    owing = plan.status == "past_due" or plan.gave_up
    if plan.status not in ("active", "trialing") and not owing:
        by_status = {"incomplete_expired": "expired"}.get(plan.status, plan.status)
        return False, by_status if by_status in _BY_PAYING else "unknown", None
    if (gone := _gone(plan)) is not None:
        return False, gone, None
    if plan.wanting == "unpaid" or (plan.wanting and not options.trust_pending_debits):
        return False, plan.wanting, None
    if plan.status == "active" and (owed := _owed(plan, options)) is not None:
        return False, owed, None
    end = plan.announced_end
    if owing:
        grace = plan.end if plan.owes_upgrade else _owed_since(plan) + options.grace_days * DAY
        if end is not None and end <= grace:
            return (True, "grace", end) if now < end else (False, "canceled", end)
        return (True, "grace", grace) if now < grace else (False, "past_due", grace)
    if end is not None and now >= end:
        return False, "canceled", end
    if end is not None and end <= plan.period_end:
        return True, "ending", end
    if plan.ends and now >= plan.end:
        return False, "unpaid", plan.end
    return True, plan.status, plan.period_end


def _current(plan: Plan) -> list[Bill]:
    """The bills of the current period; Stripe may make one a moment before the period that it is for."""
    return [bill for bill in plan.bills if bill.created >= plan.start - 3600]


def _gone(plan: Plan) -> str | None:
    """ "Refunds and disputes of a plan": everything that was paid for the current period went back."""
    current = [bill for bill in _current(plan) if bill.status == "paid"]
    paid, back = sum(bill.paid for bill in current), sum(bill.back for bill in current)
    if not sum(bill.money for bill in current) and any(bill.credit or bill.earned for bill in current):
        # "A period that was paid only with the credit of a downgrade goes with the payment that the credit
        # came from."
        source = _source_of_credit(plan)
        if source is not None:
            current, paid, back = [source], source.paid, source.back
    if not paid or back < paid:
        return None
    return "disputed" if any(bill.lost for bill in current) else "refunded"


def _source_of_credit(plan: Plan) -> Bill | None:
    """The payment before the last downgrade, unless its credit has run out since: then it was a gift."""
    for index in reversed(range(len(plan.bills))):
        bill = plan.bills[index]
        if bill.status == "paid" and bill.earned:
            return next(
                (one for one in reversed(plan.bills[:index]) if one.status == "paid" and one.money), None
            )
        if bill not in _current(plan) and bill.balance >= 0:
            return None
    return None


def _owed(plan: Plan, options: Options) -> str | None:
    """ "Bank debits": active at Stripe, although the money has not arrived or never will."""
    bill = plan.bills[-1] if plan.bills else None
    if bill is None or not bill.attempted or bill not in _current(plan):
        return None
    paid = [one for one in plan.bills if one.status == "paid" and one.money]
    if bill.status == "open" and not paid:
        return None if options.trust_pending_debits else "pending"
    if bill.status in ("void", "uncollectible") and not plan.kept:
        return None if any(one in _current(plan) for one in paid) else "unpaid"
    return None


def _owed_since(plan: Plan) -> int:
    """ "Grace" begins with the first unpaid invoice since the last one that was paid."""
    latest = plan.bills[-1] if plan.bills else None
    since = latest.due if latest is not None and latest.status != "paid" else plan.start
    return min((bill.due for bill in _owed_bills(plan)), default=since)


def _owed_bills(plan: Plan) -> list[Bill]:
    owed = []
    for bill in reversed(plan.bills):
        if bill.status == "paid" and bill.paid:
            break
        if bill.status in ("open", "uncollectible"):
            owed.append(bill)
    return owed


# -- what the simulated Stripe knows ---------------------------------------------------------------


def plans_of(
    account: Account, sold: Mapping[str, Collection[str]], options: Options
) -> list[tuple[Plan, set[str]]]:
    """Every subscription and the features of all its items. `sold`: features by price id."""
    found = []
    for sub in reversed(list(account.newest_first("subscription"))):
        items = sub["items"]["data"]
        plan = Plan(
            id=sub["id"],
            status=sub["status"],
            start=max(item["current_period_start"] for item in items),
            end=max(item["current_period_end"] for item in items),
            trial_end=sub["trial_end"],
            cancel_at=sub["cancel_at"],
            at_period_end=sub["cancel_at_period_end"],
            collection_paused=sub["pause_collection"] is not None,
            gave_up=sub["status"] == "paused" and _cause(sub) == "final_payment_failure",
            bills=tuple(_bills(account, sub["id"])),
        )
        for part, prices in _parts(
            plan, {item["price"]["id"] for item in items if item["quantity"]}, options
        ):
            found.append((part, {name for price in prices for name in sold[price]}))
    return found


def _parts(plan: Plan, prices: set[str], options: Options) -> list[tuple[Plan, set[str]]]:
    """ "Upgrades": what the plan had before one that is not paid, and what is new in it."""
    kept, settled, unpaid = set(prices), set[str](), list[Bill]()
    for bill in reversed(plan.bills):
        if bill.status == "paid" and not bill.change:
            break
        if bill.status == "paid":
            settled |= bill.prices & kept
        elif bill.change and bill.attempted and bill.status in ("open", "void", "uncollectible"):
            new = (bill.prices & kept) - bill.credited - settled
            if new:
                kept = (kept - new) | (bill.prices - kept)
                unpaid.append(bill)
    else:
        return [(plan, prices)]  # nothing was paid before: no upgrade
    if not unpaid or not kept:
        return [(plan, prices)]
    waits = unpaid[0].status == "open" and plan.status == "active"
    if waits and options.trust_pending_debits:
        return [(plan, prices)]
    owed = [bill for bill in _owed_bills(plan) if bill not in unpaid or bill not in _current(plan)]
    end = unpaid[-1].credited_until or plan.end
    before = replace(
        plan,
        kept=unpaid[0] is plan.bills[-1],
        end=end,
        ends=not waits and end < plan.end,
        owes_upgrade=not owed,
    )
    wanting = replace(plan, wanting="pending" if waits else "unpaid")
    return [(before, kept), (wanting, prices - kept)]


def _cause(sub: Json) -> str:
    return str(((sub.get("status_details") or {}).get("paused") or {}).get("subscription", {}).get("type"))


def _bills(account: Account, sub_id: str) -> list[Bill]:
    payments: dict[str, list[Json]] = {}
    for payment in account.newest_first("invoice_payment"):
        payments.setdefault(payment["invoice"], []).append(payment)
    found = []
    for invoice in reversed(list(account.newest_first("invoice"))):
        details = (invoice["parent"] or {}).get("subscription_details") or {}
        if details.get("subscription") != sub_id or invoice["status"] == "draft":
            continue
        settled = [one["payment"] for one in payments.get(invoice["id"], []) if one["status"] == "paid"]
        # what was paid outside of Stripe has no charge, and cannot go back by one
        intents = [
            account.get("payment_intent", one["payment_intent"])
            for one in settled
            if one["type"] == "payment_intent"
        ]
        charges = [account.get("charge", intent["latest_charge"]) for intent in intents]
        paid = invoice["status"] == "paid"
        moved = min(invoice["ending_balance"] or 0, 0) - min(invoice["starting_balance"], 0)
        due = invoice["due_date"] if invoice["collection_method"] == "send_invoice" else None
        lines = invoice["lines"]["data"]
        reductions = [line for line in lines if line["amount"] < 0]
        found.append(
            Bill(
                id=invoice["id"],
                created=invoice["created"],
                status=invoice["status"],
                due=due or invoice["status_transitions"]["finalized_at"],
                total=invoice["total"],
                money=invoice["amount_paid"] if paid else 0,
                credit=max(0, moved) if paid else 0,
                earned=max(0, -moved) if paid else 0,
                back=sum(_back(account, charge) for charge in charges),
                lost=sum(_lost(account, charge) for charge in charges),
                attempted=invoice["attempted"] and bool(invoice["amount_due"]),
                balance=invoice["ending_balance"] or 0,
                change=invoice["billing_reason"] == "subscription_update",
                prices=frozenset(line["pricing"]["price_details"]["price"] for line in lines),
                credited=frozenset(line["pricing"]["price_details"]["price"] for line in reductions),
                credited_until=max((line["period"]["end"] for line in reductions), default=None),
            )
        )
    return found


def purchases_of(account: Account, sold: Mapping[str, Collection[str]]) -> list[tuple[Once, Collection[str]]]:
    """Every completed one-time purchase."""
    found: list[tuple[Once, Collection[str]]] = []
    for session in reversed(list(account.newest_first("checkout.session"))):
        if session["mode"] != "payment" or session["status"] != "complete":
            continue
        intent = account.find(session["payment_intent"])
        charge = account.find(intent["latest_charge"]) if intent else None
        back, lost = (_back(account, charge), _lost(account, charge)) if charge else (0, 0)
        paid = session["payment_status"] in ("paid", "no_payment_required")
        total = session["amount_total"]
        price = account.behind(session["id"])["items"][0]["price"]["id"]
        found.append((Once(session["id"], paid, total, total - back, lost), sold[price]))
    return found


def _back(account: Account, charge: Json) -> int:
    """ "How refunds and disputes end": what of a charge is with the buyer again."""
    refunds = [one for one in account.newest_first("refund") if one["charge"] == charge["id"]]
    refunded = sum(one["amount"] for one in refunds if one["status"] not in ("failed", "canceled"))
    prevented = [one for one in _disputes(account, charge) if one["status"] == "prevented"]
    resolved = [
        one for one in prevented if one["payment_method_details"]["card"]["case_type"] == "resolution"
    ]
    taken = max(refunded, sum(one["amount"] for one in resolved)) + _lost(account, charge)
    return int(min(charge["amount"], taken))


def _lost(account: Account, charge: Json) -> int:
    lost = ("lost", "appeal_needs_response", "appeal_under_review")
    return sum(one["amount"] for one in _disputes(account, charge) if one["status"] in lost)


def _disputes(account: Account, charge: Json) -> list[Json]:
    return [one for one in account.newest_first("dispute") if one["charge"] == charge["id"]]
