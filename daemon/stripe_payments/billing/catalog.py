"""The catalogue as the faces show it."""

from __future__ import annotations

from typing import Any

from stripe_payments.billing.eligibility import Ownership, is_held
from stripe_payments.settings import Sellable, Settings


def catalog_view(settings: Settings, holdings: Ownership, locale: str | None) -> dict[str, Any]:
    """`{plans[], products[], features{NAME: {title, description}}}` in the reader's language.

    A plan or product is {id, title, description, features[] (names), prices[]}; a price is {id (its alias),
    price_id (Stripe's, or null until provisioned), amount (minor units), currency, interval ("month", "year"
    or null), trial_days (free before the first payment, where this router may still try), owned}.
    """

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
                    "trial_days": 0 if holdings.subscriptions else price.trial_days,
                    "owned": is_held(price, holdings, settings),
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
    }
