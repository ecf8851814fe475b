"""All that an administrator configures, as the rest of the daemon reads it. Frozen and pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from stripe_payments.i18n import Text, Title

__all__ = [
    "Feature",
    "Interval",
    "Locale",
    "Plan",
    "Price",
    "Problem",
    "Product",
    "Sellable",
    "Settings",
    "TaxBehavior",
]

Locale = Literal["auto", "en", "it"]
Interval = Literal["month", "year"]
TaxBehavior = Literal["inclusive", "exclusive"]

DEFAULT_POLL_INTERVAL: Final = 900
DEFAULT_GRACE_DAYS: Final = 7
DEFAULT_OFFLINE_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that can be locked; other packages query it by `name`."""

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
    """Sold once, forever; none of its prices has an interval."""


@dataclass(frozen=True, slots=True)
class Price:
    """One price of a plan or product.

    `alias` is its name here (and its ``lookup_key`` at Stripe), `of` the plan's or product's name, `price_id`
    Stripe's (None until provisioned), `amount` in the currency's minor unit, `currency` lower-case ISO 4217.
    `trial_days` (0: none) are free before the first payment, for a router that never subscribed before;
    without `trial_requires_card` they are given without a way to pay, and end by themselves. `tax_behavior`
    is that of the settings.
    """

    alias: str
    of: str
    price_id: str | None
    amount: int
    currency: str
    interval: Interval | None
    trial_days: int = 0
    trial_requires_card: bool = True
    tax_behavior: TaxBehavior | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the configuration: where it is and what to do about it."""

    section: str
    option: str
    text: Text


@dataclass(frozen=True, slots=True)
class SellerContact:
    """Who sells, as buyers see it: on the pages, Stripe's payment page and portal, and receipts."""

    name: str = ""
    support_url: str | None = None
    terms_url: str | None = None
    privacy_url: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an administrator decides; see `/etc/config/stripe-payments` for what each option does.

    `poll_interval` is in seconds, the two tolerances in days. Plans, products, prices and features keep the
    order of the file. `allowed_origins` are ``scheme://host[:port]``. `hub`: the address of the seller's hub,
    through which everything is bought then (hub mode), None in direct mode; `hub_code`: what this router
    enrols there with. `managed`: the seller's methods are not on the bus; `seller` and the three URLs: see
    `contact`; `allow_promotion_codes`: Stripe's
    page takes them; `automatic_tax`: Stripe Tax computes tax, on top of the prices or within them, as
    `tax_behavior` says, or the default of the Stripe account where that is None; `tax_id_collection`:
    Stripe's page has a field for a VAT number; `invoice_creation`: a one-time purchase gets an invoice;
    `terms_of_service`: the buyer has to accept the seller's terms.
    `malformed`: the file has a syntax error, and these are the settings that were read before.
    """

    DEFAULTS: ClassVar["Settings"]

    enabled: bool = True
    hub: str | None = None
    hub_code: str | None = None
    managed: bool = False
    seller: str = ""
    support_url: str | None = None
    terms_url: str | None = None
    privacy_url: str | None = None
    public_url: str | None = None
    listen: tuple[str, ...] = ()
    phone_return_url: str | None = None
    poll_interval: int = DEFAULT_POLL_INTERVAL
    grace_days: int = DEFAULT_GRACE_DAYS
    offline_days: int = DEFAULT_OFFLINE_DAYS
    locale: Locale = "auto"
    allowed_origins: tuple[str, ...] = ()
    allow_promotion_codes: bool = False
    trust_pending_debits: bool = False
    lock_paused: bool = False
    automatic_tax: bool = False
    tax_behavior: TaxBehavior | None = None
    tax_id_collection: bool = False
    invoice_creation: bool = False
    terms_of_service: bool = False
    plans: Mapping[str, Plan] = field(default_factory=dict)
    products: Mapping[str, Product] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    features: Mapping[str, Feature] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    malformed: bool = False

    @property
    def contact(self) -> SellerContact:
        return SellerContact(self.seller, self.support_url, self.terms_url, self.privacy_url)

    def price(self, alias_or_price_id: str) -> Price | None:
        """The price of that alias or Stripe id, None if it is not for sale here."""
        by_alias = self.prices.get(alias_or_price_id)
        if by_alias is not None:
            return by_alias
        return next((price for price in self.prices.values() if price.price_id == alias_or_price_id), None)

    def sellable(self, name: str) -> Plan | Product | None:
        """The plan or product of that name."""
        return self.plans.get(name) or self.products.get(name)

    def features_of(self, price: Price) -> tuple[str, ...]:
        """The names of the features that buying `price` unlocks."""
        sold = self.sellable(price.of)
        return sold.features if sold is not None else ()

    def prices_of(self, name: str) -> tuple[Price, ...]:
        """The prices of a plan or product."""
        return tuple(price for price in self.prices.values() if price.of == name)


Settings.DEFAULTS = Settings()
