"""What this router owns, what it must not buy again, and which plans can be changed. Pure rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from stripe_payments.entitlements import MANUAL, Entitlement, Purchase, Subscription
from stripe_payments.i18n import _
from stripe_payments.settings import Price, Sellable, Settings

if TYPE_CHECKING:
    from stripe_payments.sync.projection import State

LIVING: Final = frozenset({"active", "trialing", "past_due", "unpaid", "paused"})
"""Statuses of a subscription that has not ended, paid or not: a second one would be charged as well. Not
`incomplete`: its first payment failed, and Stripe ends it within a day.
"""

_SUBSCRIBED: Final = _("it already has a subscription")
_OWNED: Final = _("everything in it is already unlocked permanently")
_PROCESSING: Final = _("its payment is still being processed")


@dataclass(frozen=True, slots=True)
class Ownership:
    """The subscriptions that have not ended, the purchases, and the features' current state."""

    subscriptions: Sequence[Subscription] = ()
    purchases: Sequence[Purchase] = ()
    features: Mapping[str, Entitlement] | None = None
    pending: frozenset[str] = frozenset()
    """Purchases (cs_…) whose payment, a bank debit, is still processing."""

    def living(self) -> list[Subscription]:
        return [row for row in self.subscriptions if row.status in LIVING]


def read_ownership(state: State) -> Ownership:
    """A subscription that Stripe has not shown for so long that its features are locked does not count: it is
    another account's, or was deleted. Should it come back, the session of a second one is withdrawn.
    """
    pending = {paid.id for paid in state.payments.values() if paid.status == "pending"}
    lost = {one.source for one in state.entitlements.values() if one.reason == "offline" and not one.unlocked}
    return Ownership(
        [one for one in state.running if one.id not in lost],
        tuple(state.purchases.values()),
        state.entitlements,
        frozenset(pending & state.purchases.keys()),
    )


def is_active(purchase: Purchase) -> bool:
    """Whether a purchase is paid, and neither refunded in full nor lost in a dispute."""
    return purchase.paid and not purchase.fully_refunded and purchase.dispute != "lost"


def price_of(bought: Purchase | Subscription, settings: Settings) -> Price | None:
    """The catalog's price of a purchase or subscription (the first one of its items that has one); None if
    it is not sold any more.
    """
    prices = bought.prices if isinstance(bought, Subscription) else ((bought.price_id, bought.price_alias),)
    known = (settings.price(price_id) or settings.price(alias or "") for price_id, alias in prices)
    return next((price for price in known if price is not None), None)


def features_of_purchase(purchase: Purchase, settings: Settings) -> tuple[str, ...]:
    price = price_of(purchase, settings)
    name = price.of if price is not None else purchase.product
    sold = settings.sellable(name) if name else None
    return sold.features if sold is not None else ()


def permanent_features(ownership: Ownership, settings: Settings) -> set[str]:
    """The features that do not depend on a subscription: bought once, or granted without an end."""
    owned = {
        feature
        for purchase in ownership.purchases
        if is_active(purchase)
        for feature in features_of_purchase(purchase, settings)
    }
    for name, feature in (ownership.features or {}).items():
        if feature.unlocked and feature.source == MANUAL and feature.until is None:
            owned.add(name)
    return owned


def is_owned(price: Price, ownership: Ownership, settings: Settings) -> bool:
    """The catalog's `owned`: subscribed at this price, or all its features owned permanently."""
    if price.interval is not None:
        return any(price == price_of(row, settings) for row in ownership.living())
    features = settings.features_of(price)
    return bool(features) and set(features) <= permanent_features(ownership, settings)


def already_owned(price: Price, ownership: Ownership, settings: Settings) -> dict[str, object] | None:
    """The details of the error `already_owned` if this purchase would be charged twice, else None.

    That is a second subscription; a price whose features are all owned permanently; a one-time purchase whose
    payment (a bank debit) is still processing.
    """
    sold = settings.sellable(price.of)
    title = sold.titles if sold is not None else price.of
    if price.interval is not None and (living := ownership.living()):
        return {"item": title, "subscription": living[0].id, "reason": _SUBSCRIBED}
    features = set(settings.features_of(price))
    if features and features <= permanent_features(ownership, settings):
        return {"item": title, "reason": _OWNED}
    if price.interval is None:
        for purchase in ownership.purchases:
            if purchase.id in ownership.pending and price_of(purchase, settings) == price:
                return {"item": title, "payment_id": purchase.id, "reason": _PROCESSING}
    return None


ChangeProblem = Literal[
    "ended",
    "payment_due",
    "paused",
    "incomplete",
    "pending_change",
    "processing",
    "failed",
    "scheduled",
    "several_items",
    "one_time",
    "same_price",
    "other_currency",
]

_PROBLEM_OF_STATUS: Final[Mapping[str, ChangeProblem]] = {
    "past_due": "payment_due",
    "unpaid": "payment_due",
    "paused": "paused",
    "incomplete": "incomplete",
    "canceled": "ended",
    "incomplete_expired": "ended",
}


def change_problem(
    row: Subscription,
    raw: Mapping[str, Any],
    price: Price,
    settings: Settings,
    also_sold_in: Collection[str] = (),
) -> ChangeProblem | None:
    """Why a subscription cannot change to a price of the catalog, None if it can. `raw`: it at Stripe;
    `also_sold_in`: currencies of that price besides its own (`currency_options`).
    """
    if (problem := _PROBLEM_OF_STATUS.get(row.status)) is not None:
        return problem
    if row.paused_collection:
        return "paused"
    if raw.get("pending_update"):
        return "pending_change"
    if raw.get("schedule"):
        return "scheduled"
    # Stripe would credit the unused time of what is not paid
    if (owed := row.owed or (row.unpaid_change.state if row.unpaid_change is not None else None)) is not None:
        return "processing" if owed == "pending" else "failed"
    item = plan_item(raw, settings)
    if item is None:
        return "several_items"
    if price.interval is None:
        return "one_time"
    if price == (price_of_item(item, settings) or price_of(row, settings)):
        return "same_price"
    if raw.get("currency") not in (None, price.currency, *also_sold_in):
        return "other_currency"
    return None


def price_of_item(item: Mapping[str, Any], settings: Settings) -> Price | None:
    """The catalog's price of a subscription item at Stripe; None if it is not sold here."""
    at_stripe = item.get("price")
    if not isinstance(at_stripe, Mapping):
        return None
    return settings.price(str(at_stripe.get("id"))) or settings.price(str(at_stripe.get("lookup_key") or ""))


def plan_item(raw: Mapping[str, Any], settings: Settings) -> Mapping[str, Any] | None:
    """The item of a subscription at Stripe that is a plan of the catalog, or its only item. None where it
    cannot be determined which one: items can be added in the Dashboard.
    """
    items = items_of(raw)
    plans = [item for item in items if price_of_item(item, settings) is not None]
    found = plans or items
    return found[0] if len(found) == 1 else None


def items_of(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The items of a subscription at Stripe."""
    items = raw.get("items")
    return list(items.get("data", [])) if isinstance(items, Mapping) else []


def catalog_view(
    settings: Settings, ownership: Ownership, locale: str | None, *, complete: bool = True
) -> dict[str, Any]:
    """Return `{plans[], products[], features{NAME: {title, description}}, tax_behavior}` in the caller's
    language; tax_behavior: whether tax is in the prices ("inclusive") or added ("exclusive"), null where
    that is not known or no tax is computed.

    A plan or product is {id, title, description, features[] (names), prices[]}; a price is {id (its alias),
    price_id (Stripe's, or null until provisioned), amount (minor units), currency, interval ("month", "year"
    or null), trial_days (0 once this router had a subscription), owned}. `complete`: whether all that this
    router has at Stripe is known: until then no trial is shown, because there may have been one.
    """
    trials = complete and not ownership.subscriptions

    def sellable(sold: Sellable) -> dict[str, Any]:
        return {
            "id": sold.name,
            "title": sold.title_in(locale),
            "description": sold.description_in(locale),
            "features": list(sold.features),
            "prices": [
                {
                    "id": price.alias,
                    "price_id": price.price_id,
                    "amount": price.amount,
                    "currency": price.currency,
                    "interval": price.interval,
                    "trial_days": price.trial_days if trials else 0,
                    "owned": is_owned(price, ownership, settings),
                }
                for price in settings.prices_of(sold.name)
            ],
        }

    return {
        "plans": [sellable(plan) for plan in settings.plans.values()],
        "products": [sellable(product) for product in settings.products.values()],
        "features": {
            name: {"title": feature.title_in(locale), "description": feature.description_in(locale)}
            for name, feature in settings.features.items()
        },
        "tax_behavior": settings.tax_behavior if settings.automatic_tax else None,
    }
