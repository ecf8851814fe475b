"""The rules for subscriptions and invoices: until when a plan runs, what was paid, owed, returned. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from stripe_payments.entitlements import Subscription, UnpaidChange
from stripe_payments.sync import stripe_objects as at_stripe
from stripe_payments.sync.payment_facts import DisputeState, MoneyBack
from stripe_payments.sync.stripe_objects import Invoice, StripeObjects

BEFORE_PERIOD: Final = 3600
"""Seconds. An invoice may be made a moment before the period that it pays for."""


# -- money -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InvoiceMoney:
    """What became of the payments of one invoice. Amounts in minor units; `paid`: by all of them, `credit`
    of the customer's balance included; `credited`: what the invoice added to that balance; `charges`: the ids
    of the charges that paid it, as far as they are stored; `outcome`: disputed, refunded,
    partially_refunded, what outweighs that it was paid; pending while a bank debit for it is processing; else
    "".
    """

    paid: int = 0
    credit: int = 0
    refunded: int = 0
    lost: int = 0
    credited: int = 0
    dispute: DisputeState | None = None
    charges: tuple[str, ...] = ()
    outcome: str = ""

    @property
    def returned(self) -> int:
        return min(self.paid, self.refunded + self.lost)


def invoice_money(objects: StripeObjects, backs: Mapping[str, MoneyBack]) -> dict[str, InvoiceMoney]:
    """By the invoice's id. `backs`: as `payment_facts.money_back` returns."""
    return {
        invoice.id: InvoiceMoney(outcome="pending")
        if _is_processing(invoice, objects)
        else _money(
            invoice, {charge.id: backs[charge.id] for charge in objects.charges_of_invoice[invoice.id]}
        )
        for invoice in objects.invoices.values()
    }


def _is_processing(invoice: Invoice, objects: StripeObjects) -> bool:
    """Whether a payment for it was submitted that has neither failed nor arrived: a bank debit. A failure
    makes the subscription past_due, or voids the invoice.
    """
    subscription = objects.subscriptions.get(invoice.subscription or "")
    if subscription is None or subscription.status != "active":
        return False
    return invoice.status == "open" and invoice.attempted and invoice.id == subscription.latest_invoice


def _money(invoice: Invoice, backs: Mapping[str, MoneyBack]) -> InvoiceMoney:
    """`backs`: what went back of each of the charges that paid the invoice, by the charge's id."""
    if invoice.status != "paid":
        return InvoiceMoney()
    credit = _from_credit(invoice)
    paid = max(0, invoice.amount_paid) + max(0, credit)
    refunded = sum(back.refunded for back in backs.values())
    states = {back.dispute for back in backs.values()}
    ranked: tuple[DisputeState, ...] = ("lost", "open", "won")
    dispute = next((state for state in ranked if state in states), None)
    return InvoiceMoney(
        paid=paid,
        refunded=refunded,
        lost=sum(back.lost for back in backs.values()),
        credit=max(0, credit),
        credited=max(0, -credit),
        dispute=dispute,
        charges=tuple(backs),
        outcome=_outcome(paid, refunded, dispute),
    )


def _outcome(paid: int, refunded: int, dispute: DisputeState | None) -> str:
    if not paid:
        return ""
    if dispute in ("open", "lost"):
        return "disputed"
    if refunded >= paid:
        return "refunded"
    return "partially_refunded" if refunded else ""


def _from_credit(invoice: Invoice) -> int:
    """What of a paid invoice the customer's credit balance paid; negative where it added to the balance.
    A balance below zero is credit (https://docs.stripe.com/billing/customer/balance).
    """
    before, after = invoice.starting_balance, invoice.ending_balance
    return 0 if before is None or after is None else min(after, 0) - min(before, 0)


# -- subscriptions ---------------------------------------------------------------------------------


def subscriptions(objects: StripeObjects, moneys: Mapping[str, InvoiceMoney]) -> dict[str, Subscription]:
    """By id. `moneys`: as `invoice_money` returns."""
    found = [_subscription(one, objects, moneys) for one in objects.subscriptions.values()]
    found += [
        Subscription(id=str(raw["id"]), **raw["subscription"]) for raw in objects.archived_subscriptions
    ]
    return {one.id: one for one in sorted(found, key=lambda one: one.id)}


def _subscription(
    raw: at_stripe.Subscription, objects: StripeObjects, moneys: Mapping[str, InvoiceMoney]
) -> Subscription:
    """Of several items (we sell one, others are added in the Dashboard) the period that ends last counts."""
    # of the invoices of one second Stripe names the newest, and the first is the oldest; ids say nothing
    own = sorted(
        objects.invoices_of.get(raw.id, ()),
        key=lambda one: (-one.created, one.id != raw.latest_invoice, _is_first(one)),
    )
    latest = objects.invoices.get(raw.latest_invoice or "")
    charged = [item for item in raw.items if item.quantity]
    first, more = (charged[0] if charged else None), charged[1:]
    gave_up = raw.status == "paused" and raw.paused_for == "final_payment_failure"
    change = _unpaid_change(raw, own)
    owed = _owed(raw, latest, own)
    if owed == "unpaid" and change is not None and latest is not None and _is_change(latest):
        owed = None  # the period was paid before the change
    return Subscription(
        id=raw.id,
        status=raw.status,
        price_id=(first.price if first is not None else None) or "",
        # our name of the price: its lookup_key follows a change of plan, our metadata may be the old plan's
        price_alias=(first.lookup_key if first is not None else None)
        or (raw.metadata.get("price_alias") if not more else None),
        plan=raw.metadata.get("item"),
        current_period_end=_period_end(raw),
        cancel_at=raw.cancel_at,
        cancel_at_period_end=raw.cancel_at_period_end,
        trial_end=raw.trial_end,
        paused_collection=raw.pause_collection,
        past_due_since=_past_due_since(raw, latest, own) if raw.status == "past_due" or gave_up else None,
        paused_after_dunning=gave_up,
        returned=_returned(own, moneys, raw.period_start),
        owed=owed,
        more_prices=tuple((item.price or "", item.lookup_key) for item in more),
        unpaid_change=change,
        nothing_charged=bool(raw.items) and not charged,
        ended_at=raw.ended_at,
    )


def _past_due_since(
    raw: at_stripe.Subscription, latest: Invoice | None, own: Sequence[Invoice]
) -> int | None:
    """When the first of the payments that are owed now fell due, else the latest final invoice that was not
    paid, else the start of the period. A later renewal is no new start, nor is an invoice without a total.

    Taken from Stripe's objects and never from the moment we noticed, so that grace ends at the same second
    whatever we saw and when.
    """
    since = min((due for one in _owed_invoices(own) if (due := _fell_due(one)) is not None), default=None)
    known = own or ([latest] if latest is not None else [])
    final = next((one for one in known if one.status != "draft"), None)
    if since is None and final is not None and final.status != "paid":
        since = _fell_due(final)
    return raw.period_start if since is None else since


def _owed_invoices(invoices: Iterable[Invoice]) -> list[Invoice]:
    """Those since the last one that was paid. `invoices`: a subscription's, newest first."""
    owed = []
    for invoice in invoices:
        if invoice.status in ("open", "uncollectible"):
            owed.append(invoice)
        elif invoice.status == "paid" and (invoice.amount_paid or _from_credit(invoice) > 0):
            break
    return owed


def _fell_due(invoice: Invoice) -> int | None:
    """When an invoice was to be paid: as soon as it was final; one that is sent, by its due date."""
    if invoice.due_date is not None and invoice.collection_method == "send_invoice":
        return invoice.due_date
    return invoice.finalized_at if invoice.finalized_at is not None else invoice.created or None


def _owed(
    raw: at_stripe.Subscription, latest: Invoice | None, own: Sequence[Invoice]
) -> Literal["pending", "unpaid"] | None:
    """Whether an active subscription's money is still missing, by its latest and all its own invoices.

    With a delayed payment method it is active at once, and stays so when Stripe voids the invoice of a failed
    debit (https://docs.stripe.com/billing/subscriptions/overview). A renewal that is processing does not
    count: the plan was paid before, and a failure makes it past_due.
    """
    if raw.status != "active" or latest is None or not latest.attempted:
        return None
    begun = (raw.period_start or 0) - BEFORE_PERIOD
    if not latest.amount_due or latest.created < begun:
        return None
    paid = [one for one in own if one.status == "paid" and one.amount_paid]
    if latest.status == "open":
        return None if paid else "pending"
    if latest.status in ("void", "uncollectible"):
        return None if any(one.created >= begun for one in paid) else "unpaid"
    return None


def _is_first(invoice: Invoice) -> bool:
    return invoice.billing_reason == "subscription_create"


def _is_change(invoice: Invoice) -> bool:
    return invoice.billing_reason == "subscription_update"


def _unpaid_change(raw: at_stripe.Subscription, own: Sequence[Invoice]) -> UnpaidChange | None:
    """What of the subscription's items only changes brought whose invoices are not paid, since an invoice of
    its period was. `own`: the subscription's invoices, newest first.

    Bank debits cannot pay for a change that waits: Stripe makes it at once, and its invoice has lines for the
    prices before and after it (https://docs.stripe.com/billing/subscriptions/prorations).
    """
    items = {item.price or "": item.lookup_key for item in raw.items if item.quantity}
    kept, settled, unpaid = set(items), set[str](), list[Invoice]()
    for invoice in own:
        if invoice.status == "paid" and not _is_change(invoice):
            break
        prices = {line.price for line in invoice.lines if line.price is not None}
        if invoice.status == "paid":
            settled |= prices & kept
        elif _is_change(invoice) and _was_attempted(invoice):
            credited = {line.price for line in invoice.lines if line.amount < 0}
            new = (prices & kept) - credited - settled
            if new:
                kept = (kept - new) | (prices - kept)
                unpaid.append(invoice)
    else:
        return None  # nothing was paid before
    if not unpaid or not kept:
        return None
    begun = (raw.period_start or 0) - BEFORE_PERIOD
    ends = [line.period_end for line in unpaid[-1].lines if line.amount < 0 and line.period_end is not None]
    gone = kept - items.keys()
    # our metadata is the plan before: it follows a change when that is paid
    alias = raw.metadata.get("price_alias") if len(gone) == 1 else None
    kept_until, period_end = max(ends, default=None), _period_end(raw)
    return UnpaidChange(
        state="pending" if unpaid[0].status == "open" and raw.status == "active" else "unpaid",
        kept=tuple((price, items.get(price, alias)) for price in sorted(kept)),
        new=tuple((price, items[price]) for price in sorted(items.keys() - kept)),
        kept_until=kept_until if kept_until != period_end else None,
        nothing_else=all(one in unpaid and one.created >= begun for one in _owed_invoices(own)),
    )


def _was_attempted(invoice: Invoice) -> bool:
    owes = invoice.status in ("open", "void", "uncollectible")
    return owes and invoice.attempted and bool(invoice.amount_due)


def _period_end(raw: at_stripe.Subscription) -> int | None:
    ends = [item.current_period_end for item in raw.items if item.current_period_end is not None]
    return max(ends, default=None)


def _returned(
    own: Sequence[Invoice], moneys: Mapping[str, InvoiceMoney], period_start: int | None
) -> Literal["refunded", "disputed"] | None:
    """Which way all that was paid for the current period went back; None while something is left. `own`: the
    subscription's invoices, newest first.

    A change to a cheaper plan pays for its period with credit from an earlier payment. Where nothing else
    was paid, the period goes with that payment.
    """
    begun = (period_start or 0) - BEFORE_PERIOD
    current = [moneys[one.id] for one in own if one.created >= begun]
    if all(money.paid == money.credit for money in current) and any(
        money.credit or money.credited for money in current
    ):
        source = _source_of_credit(own, moneys, begun)
        current = [source] if source is not None else current
    paid = sum(money.paid for money in current)
    if not paid or sum(money.returned for money in current) < paid:
        return None
    return "disputed" if any(money.lost for money in current) else "refunded"


def _source_of_credit(
    own: Iterable[Invoice], moneys: Mapping[str, InvoiceMoney], begun: int
) -> InvoiceMoney | None:
    """What had paid for the last credit that an invoice added; None for credit of another origin: that was
    used up before the current period, and what paid for this one is the seller's gift. `own`: as above.
    """
    older = iter(own)
    for invoice in older:
        if moneys[invoice.id].credited:
            before = (moneys[one.id] for one in older)
            return next((money for money in before if money.paid > money.credit), None)
        if invoice.created < begun and invoice.ending_balance is not None and invoice.ending_balance >= 0:
            return None
    return None


def credited_since(own: Sequence[Invoice], moneys: Mapping[str, InvoiceMoney], invoice_id: str) -> int:
    """What of an invoice's payment later changes to a cheaper plan turned into credit; minor units. `own`:
    the subscription's invoices, newest first.
    """
    credited = 0
    for one in own:
        if one.id == invoice_id:
            return credited
        money = moneys[one.id]
        credited = 0 if money.paid > money.credit else credited + money.credited
    return 0
