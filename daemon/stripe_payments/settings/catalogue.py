"""What is for sale, at which prices, and the features that it unlocks."""

from dataclasses import dataclass
from typing import Literal

from stripe_payments.i18n import Title

__all__ = ["Feature", "Interval", "Plan", "Price", "Product", "Sellable"]

Interval = Literal["month", "year"]


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that can be locked: `name` is what other packages ask for."""

    name: str
    titles: Title
    descriptions: Title

    @property
    def title(self) -> str:
        """The English title."""
        return self.titles.en

    @property
    def description(self) -> str:
        """The English description."""
        return self.descriptions.en

    def title_in(self, locale: str | None) -> str:
        """The title for a reader's locale."""
        return self.titles.in_locale(locale)

    def description_in(self, locale: str | None) -> str:
        """The description for a reader's locale."""
        return self.descriptions.in_locale(locale)


@dataclass(frozen=True, slots=True)
class Sellable(Feature):
    """A plan or a product: what a buyer chooses; `features` are the names it unlocks.

    `stripe_product` names what it is sold as at Stripe: another plan or product, whose product there it
    shares, or a product of Stripe's (``prod_…``). None: one of its own.
    """

    features: tuple[str, ...] = ()
    stripe_product: str | None = None


@dataclass(frozen=True, slots=True)
class Plan(Sellable):
    """Sold by subscription; all its prices have an interval."""


@dataclass(frozen=True, slots=True)
class Product(Sellable):
    """Sold once, for ever; none of its prices has an interval."""


@dataclass(frozen=True, slots=True)
class Price:
    """One price of a plan or product.

    `alias` is its name here (and its ``lookup_key`` at Stripe), `of` the plan's or product's name, `price_id`
    Stripe's (None until provisioned), `amount` in the currency's minor unit, `currency` lower-case ISO 4217.
    `trial_days` (0: none) are free before the first payment, for a router that never subscribed before;
    without `trial_requires_card` they are given without a way to pay, and end by themselves.
    """

    alias: str
    of: str
    price_id: str | None
    amount: int
    currency: str
    interval: Interval | None
    trial_days: int = 0
    trial_requires_card: bool = True
