"""All that an administrator configures, as the rest of the daemon reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from stripe_payments.i18n import _
from stripe_payments.settings.catalogue import Feature, Plan, Price, Product
from stripe_payments.settings.uci import Locale, OptionReader, Problem, Sections
from stripe_payments.settings.uci_catalogue import read_catalogue

__all__ = ["Settings"]

DEFAULT_POLL_INTERVAL: Final = 900
DEFAULT_GRACE_DAYS: Final = 7
DEFAULT_OFFLINE_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an administrator decides; see `/etc/config/stripe-payments` for what each option does.

    `poll_interval` is in seconds, the two tolerances in days. Plans, products, prices and features keep the
    order of the file. `allowed_origins` are ``scheme://host[:port]``. `allow_promotion_codes`: Stripe's page
    takes them; `automatic_tax`: Stripe Tax computes tax, on top of the prices or within them, as set up
    there.
    """

    DEFAULTS: ClassVar["Settings"]

    enabled: bool = True
    public_url: str | None = None
    listen: tuple[str, ...] = ()
    phone_return_url: str | None = None
    poll_interval: int = DEFAULT_POLL_INTERVAL
    grace_days: int = DEFAULT_GRACE_DAYS
    offline_days: int = DEFAULT_OFFLINE_DAYS
    locale: Locale = "auto"
    allowed_origins: tuple[str, ...] = ()
    allow_promotion_codes: bool = False
    automatic_tax: bool = False
    plans: Mapping[str, Plan] = field(default_factory=dict)
    products: Mapping[str, Product] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    features: Mapping[str, Feature] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @classmethod
    def from_uci(cls, sections: Sections) -> "Settings":
        """Read the sections of the configuration ``stripe-payments``. Never raises: see `problems`."""
        options = OptionReader(sections)
        catalogue = read_catalogue(options)
        main = "main"
        if main not in options:
            options.report(
                main,
                "",
                _("the section “config payments 'main'” is missing; the defaults are in force"),
            )
        return cls(
            enabled=options.flag(main, "enabled", default=True),
            public_url=options.url(main, "public_url"),
            listen=options.addresses(main, "listen"),
            phone_return_url=options.url(main, "phone_return_url"),
            poll_interval=options.number(main, "poll_interval", DEFAULT_POLL_INTERVAL, 60, 86_400),
            grace_days=options.number(main, "grace_days", DEFAULT_GRACE_DAYS, 0, 365),
            offline_days=options.number(main, "offline_days", DEFAULT_OFFLINE_DAYS, 0, 3_650),
            locale=options.locale(main, "locale"),
            allowed_origins=options.origins(main, "allowed_origin"),
            allow_promotion_codes=options.flag(main, "allow_promotion_codes", default=False),
            automatic_tax=options.flag(main, "automatic_tax", default=False),
            plans=catalogue.plans,
            products=catalogue.products,
            prices=catalogue.prices,
            features=catalogue.features,
            problems=options.problems,
        )

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
