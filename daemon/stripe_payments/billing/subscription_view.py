"""The subscriptions as `subscriptions` returns them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.billing.declines import failure_of_invoice
from stripe_payments.billing.eligibility import LIVING, items_of, price_of, price_of_item
from stripe_payments.billing.upcoming import expected_payment, period_amount
from stripe_payments.entitlements import Subscription, announced_end, grace_end
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.rfc3339 import format_time
from stripe_payments.settings import Settings
from stripe_payments.sync.raw_fields import integer, reference

if TYPE_CHECKING:
    from stripe_payments.billing.prices import PriceIds
    from stripe_payments.sync.projection import State

Raw = Mapping[str, Any]

_log = Log("subscriptions")


LISTED: Final = 50
"""Newest subscriptions that are listed, besides those that have not ended."""


def list_subscriptions(state: State, settings: Settings, locale: str | None) -> list[dict[str, Any]]:
    """Those that have not ended, then others, LISTED of them; the newest first."""
    rows = {row.id: row for row in state.running}
    for subscription_id in list(state.parsed.subscriptions)[:LISTED]:
        rows[subscription_id] = state.subscriptions[subscription_id]
    found = []
    for row in rows.values():
        created = integer(state.objects[row.id].get("created")) or 0
        found.append(((row.status not in LIVING, -created, row.id), _view(state, row, settings, locale)))
    return [view for _, view in sorted(found, key=lambda entry: entry[0])]


def show_subscription(
    state: State, subscription_id: str, settings: Settings, locale: str | None
) -> dict[str, Any] | None:
    """One of them, None if the ledger has none of that id."""
    row = state.subscriptions.get(subscription_id)
    return _view(state, row, settings, locale) if row is not None else None


def _view(state: State, row: Subscription, settings: Settings, locale: str | None) -> dict[str, Any]:
    """{id, plan, title, status, price, amount, currency, interval, interval_count, current_period_end,
    cancel_at, cancel_at_period_end, ends_at, trial_end, grace_until, paused, next_payment, pending_change,
    planned_change, latest_invoice}.

    price: our alias, or Stripe's id; plan, price: of its first item that is a plan of the catalog, title: of
    all of them; amount: what one period is charged, minor units; interval_count: how many intervals a period
    has; next_payment {date, amount, currency, source} or null, see `upcoming`; ends_at: when it ends unless
    it is resumed, null while it renews; grace_until: when its features lock unless it is paid; paused: it
    collects no payments and unlocks nothing; pending_change {price, expires_at, invoice_url} or null: a
    change of plan that waits for its payment; planned_change: see `planned_changes`, null until it was
    fetched; latest_invoice {id, status, amount_due, amount_remaining (what is left to pay of it), currency,
    url, pdf, failure (why the last payment of it failed, as in the transactions, or null)} or null.
    """
    raw = state.objects[row.id]
    price = price_of(row, settings)
    plan = price.of if price is not None else row.plan
    titles = _titles(raw, settings, locale)
    sold = settings.sellable(plan) if plan else None
    recurring = _recurring(raw)
    invoice = state.objects.get(reference(raw.get("latest_invoice")) or "")
    ended = row.status in ("canceled", "incomplete_expired")
    charged, upcoming = period_amount(state, raw), expected_payment(state, row)
    return {
        "id": row.id,
        "plan": plan,
        "title": titles or (sold.title_in(locale) if sold is not None else plan),
        "status": row.status,
        "price": price.alias if price is not None else row.price_alias or row.price_id,
        "amount": charged.amount or (price.amount if price is not None and not charged.currency else 0),
        "currency": charged.currency or (price.currency if price is not None else ""),
        "interval": recurring.get("interval"),
        "interval_count": integer(recurring.get("interval_count")) or 1,
        "current_period_end": _time(row.current_period_end),
        "cancel_at": _time(row.cancel_at),
        "cancel_at_period_end": row.cancel_at_period_end,
        "ends_at": _time(integer(raw.get("ended_at")) if ended else announced_end(row)),
        "trial_end": _time(row.trial_end),
        "grace_until": _time(grace_end(row, settings)),
        "paused": row.paused_collection or row.status == "paused",
        "next_payment": upcoming.view() if upcoming is not None else None,
        "pending_change": _pending_change(raw, invoice, settings),
        "planned_change": None,
        "latest_invoice": _invoice(state, invoice, locale),
    }


async def in_own_currency(
    view: dict[str, Any], state: State, settings: Settings, prices: PriceIds
) -> dict[str, Any]:
    """A view with its price in the currency that the subscription is charged in, where no invoice has shown
    that yet; as it was where the price at Stripe cannot be had.
    """
    raw, price = state.objects[view["id"]], settings.price(view["price"])
    currency, items = raw.get("currency"), items_of(raw)
    if price is None or currency == view["currency"] or len(items) != 1:
        return view
    try:
        unit_amount = (await prices.amounts(price)).get(str(currency))
    except PaymentError as error:
        _log.info("price in another currency not found", subscription=view["id"], error=error.code)
        return view
    if unit_amount is None:
        return view
    own = {"amount": unit_amount * (integer(items[0].get("quantity")) or 1), "currency": currency}
    upcoming = view["next_payment"]
    if upcoming is not None and upcoming["source"] == "list_price":
        upcoming = {**upcoming, **own}
    return {**view, **own, "next_payment": upcoming}


def _recurring(raw: Raw) -> Raw:
    """Of the price of the first item that has one."""
    prices = [item.get("price") for item in items_of(raw)]
    found = next((price.get("recurring") for price in prices if isinstance(price, Mapping)), None)
    return found if isinstance(found, Mapping) else {}


def _titles(raw: Raw, settings: Settings, locale: str | None) -> str:
    """`Base + Business`; "" where no item is a plan of the catalog."""
    prices = [price_of_item(item, settings) for item in items_of(raw)]
    sold = [settings.sellable(price.of) for price in prices if price is not None]
    return " + ".join(dict.fromkeys(one.title_in(locale) for one in sold if one is not None))


def _pending_change(raw: Raw, invoice: Raw | None, settings: Settings) -> dict[str, Any] | None:
    pending = raw.get("pending_update")
    if not isinstance(pending, Mapping):
        return None
    wanted: Raw = next(iter(pending.get("subscription_items") or []), {})
    at_stripe = wanted.get("price")
    price_id = reference(at_stripe) or ""
    key = at_stripe.get("lookup_key") if isinstance(at_stripe, Mapping) else None
    price = settings.price(price_id) or settings.price(str(key or ""))
    return {
        "price": price.alias if price is not None else price_id,
        "expires_at": _time(integer(pending.get("expires_at"))),
        "invoice_url": invoice.get("hosted_invoice_url") if invoice else None,
    }


def _invoice(state: State, invoice: Raw | None, locale: str | None) -> dict[str, Any] | None:
    if invoice is None:
        return None
    amount_due, left = integer(invoice.get("amount_due")) or 0, integer(invoice.get("amount_remaining"))
    return {
        "id": invoice["id"],
        "status": invoice.get("status"),
        "amount_due": amount_due,
        "amount_remaining": amount_due if left is None else left,
        "currency": invoice.get("currency"),
        "url": invoice.get("hosted_invoice_url"),
        "pdf": invoice.get("invoice_pdf"),
        "failure": failure_of_invoice(state, str(invoice["id"]), locale),
    }


def _time(epoch: int | None) -> str | None:
    return None if epoch is None else format_time(epoch)
