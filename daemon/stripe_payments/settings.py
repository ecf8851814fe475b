"""The settings of `/etc/config/stripe-payments`, read once and frozen. Pure: sections in, settings out.

A bad value never stops the daemon: the default stays, or the entry is left out, and `Settings.problems` says
so in both languages, for `check` and the log. The values come as rpcd's ``uci get`` gives them: every option
a string or a list of strings.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

from stripe_payments.texts import Text

__all__ = ["Feature", "Interval", "Plan", "Price", "Problem", "Product", "Sections", "Sellable", "Settings"]

Interval = Literal["month", "year"]
Locale = Literal["auto", "en", "it"]
Sections = Mapping[str, Mapping[str, object]]
"""UCI sections by name; options as strings or lists of strings, rpcd's own under ``.type``, ``.name`` …"""

DEFAULT_POLL_INTERVAL: Final = 900
DEFAULT_GRACE_DAYS: Final = 7
DEFAULT_OFFLINE_DAYS: Final = 30

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_PRICE_ID = re.compile(r"price_[A-Za-z0-9_]+")
_PRODUCT_ID = re.compile(r"prod_[A-Za-z0-9_]+")
_CURRENCY = re.compile(r"[a-z]{3}")
_LONGEST_TRIAL: Final = 730  # https://docs.stripe.com/api/checkout/sessions/create: trial_period_days
_LARGEST_AMOUNT: Final = 99_999_999  # https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
_NO_TEXT = re.compile("[\ud800-\udfff]")  # what ubus_py puts in the place of other bytes
_LISTEN = re.compile(r"(?:(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):)?([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the configuration: where it is and what to do about it."""

    section: str
    option: str
    text: Text


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that can be locked: `name` is what other packages ask for."""

    name: str
    titles: Text
    descriptions: Text

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
        return _Reading(sections).settings()

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


class _Reading:
    """One pass over the sections; collects the problems on the way."""

    def __init__(self, sections: Sections) -> None:
        self._sections = sections
        self._problems: list[Problem] = []

    def settings(self) -> Settings:
        features = {name: self._feature(name) for name in self._of_type("feature")}
        plans = {name: self._plan(name, features) for name in self._of_type("plan")}
        products = {name: self._product(name, features) for name in self._of_type("product")}
        prices = self._prices(plans, products)
        for name, sold in (plans | products).items():
            if not any(price.of == name for price in prices.values()):
                self._report(
                    sold.name,
                    "",
                    "it has no price, so nobody can buy it: add a section “config price”",
                    "non ha un prezzo, quindi nessuno può acquistarlo: aggiungi una sezione “config price”",
                )
        main = "main"
        if main not in self._sections:
            self._report(
                main,
                "",
                "the section “config payments 'main'” is missing; the defaults are in force",
                "manca la sezione “config payments 'main'”; valgono i valori predefiniti",
            )
        return Settings(
            enabled=self._flag(main, "enabled", default=True),
            public_url=self._url(main, "public_url"),
            listen=self._listen(main),
            phone_return_url=self._url(main, "phone_return_url"),
            poll_interval=self._number(main, "poll_interval", DEFAULT_POLL_INTERVAL, 60, 86_400),
            grace_days=self._number(main, "grace_days", DEFAULT_GRACE_DAYS, 0, 365),
            offline_days=self._number(main, "offline_days", DEFAULT_OFFLINE_DAYS, 0, 3_650),
            locale=self._locale(main),
            allowed_origins=self._origins(main),
            allow_promotion_codes=self._flag(main, "allow_promotion_codes", default=False),
            automatic_tax=self._flag(main, "automatic_tax", default=False),
            plans=plans,
            products=products,
            prices=prices,
            features=features,
            problems=tuple(self._problems),
        )

    # Sections.

    def _of_type(self, kind: str) -> Iterator[str]:
        for name, section in self._sections.items():
            if section.get(".type") != kind:
                continue
            if section.get(".anonymous") is True or not _NAME.fullmatch(name):
                self._report(
                    name,
                    "",
                    f"a section “config {kind}” needs a name of letters, digits and underscores; it is "
                    "ignored",
                    f"una sezione “config {kind}” richiede un nome di lettere, cifre e trattini bassi; è "
                    "ignorata",
                )
                continue
            yield name

    def _feature(self, name: str) -> Feature:
        return Feature(name, self._text(name, "title", name), self._text(name, "description", ""))

    def _plan(self, name: str, features: dict[str, Feature]) -> Plan:
        titles, descriptions = self._text(name, "title", name), self._text(name, "description", "")
        return Plan(name, titles, descriptions, self._features(name, features), self._stripe_product(name))

    def _product(self, name: str, features: dict[str, Feature]) -> Product:
        titles, descriptions = self._text(name, "title", name), self._text(name, "description", "")
        return Product(name, titles, descriptions, self._features(name, features), self._stripe_product(name))

    def _stripe_product(self, name: str) -> str | None:
        value = self._string(name, "stripe_product")
        if not value or value == name:
            return None
        if _PRODUCT_ID.fullmatch(value) or self._sections.get(value, {}).get(".type") in ("plan", "product"):
            return value
        self._report(
            name,
            "stripe_product",
            f"“{value}” is neither a plan or product of this file nor the id of a product at Stripe "
            "(prod_…); it is ignored",
            f"“{value}” non è né un piano o prodotto di questo file né l'id di un prodotto di Stripe "
            "(prod_…); è ignorato",
        )
        return None

    def _features(self, section: str, known: dict[str, Feature]) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for name in self._list(section, "feature"):
            if not _NAME.fullmatch(name):
                self._report(
                    section,
                    "feature",
                    f"“{name}” is not a feature's name: letters, digits and underscores only",
                    f"“{name}” non è il nome di una funzione: solo lettere, cifre e trattini bassi",
                )
                continue
            if name not in known:
                # What is listed is sold: it must unlock, even if nobody has described it.
                known[name] = Feature(name, Text(name, name), Text("", ""))
                self._report(
                    section,
                    "feature",
                    f"the feature “{name}” has no section “config feature '{name}'” with its title",
                    f"la funzione “{name}” non ha una sezione “config feature '{name}'” con il suo titolo",
                )
            names[name] = None
        if not names:
            self._report(
                section,
                "feature",
                "it unlocks nothing: add “list feature”",
                "non sblocca nulla: aggiungi “list feature”",
            )
        return tuple(names)

    def _prices(self, plans: Mapping[str, Plan], products: Mapping[str, Product]) -> dict[str, Price]:
        prices: dict[str, Price] = {}
        taken: dict[str, str] = {}
        for alias in self._of_type("price"):
            price = self._price(alias, plans, products)
            if price is None:
                continue
            if price.price_id is not None and price.price_id in taken:
                self._report(
                    alias,
                    "price_id",
                    f"“{price.price_id}” is already the price “{taken[price.price_id]}”; it is ignored here",
                    f"“{price.price_id}” è già il prezzo “{taken[price.price_id]}”; qui è ignorato",
                )
                price = Price(alias, price.of, None, price.amount, price.currency, price.interval)
            if price.price_id is not None:
                taken[price.price_id] = alias
            prices[alias] = price
        return prices

    def _price(self, alias: str, plans: Mapping[str, Plan], products: Mapping[str, Product]) -> Price | None:
        of = self._string(alias, "of")
        if of not in plans and of not in products:
            self._report(
                alias,
                "of",
                f"there is no plan or product “{of}”; the price is not for sale",
                f"non esiste un piano o prodotto “{of}”; il prezzo non è in vendita",
            )
            return None
        amount = self._string(alias, "amount")
        if not (amount.isascii() and amount.isdecimal()) or int(amount[:12]) > _LARGEST_AMOUNT:
            self._report(
                alias,
                "amount",
                f"“{amount}” is not an amount in the smallest unit of the currency (4999 for €49.99); "
                "the price is not for sale",
                f"“{amount}” non è un importo nell'unità più piccola della valuta (4999 per 49,99 €); "
                "il prezzo non è in vendita",
            )
            return None
        currency = self._string(alias, "currency").lower() or "eur"
        if not _CURRENCY.fullmatch(currency):
            self._report(
                alias,
                "currency",
                f"“{currency}” is not a currency's code of three letters, such as eur; the price is not "
                "for sale",
                f"“{currency}” non è il codice di tre lettere di una valuta, come eur; il prezzo non è in "
                "vendita",
            )
            return None
        interval = self._interval(alias, plan=of in plans)
        if interval == "wrong":
            return None
        price_id: str | None = self._string(alias, "price_id") or None
        if price_id is not None and not _PRICE_ID.fullmatch(price_id):
            self._report(
                alias,
                "price_id",
                f"“{price_id}” is not the id of a price at Stripe (price_…); it is ignored",
                f"“{price_id}” non è l'id di un prezzo di Stripe (price_…); è ignorato",
            )
            price_id = None
        return Price(
            alias,
            of,
            price_id,
            int(amount),
            currency,
            interval,
            trial_days=self._trial_days(alias, interval),
            trial_requires_card=self._flag(alias, "trial_requires_card", default=True),
        )

    def _trial_days(self, alias: str, interval: Interval | None) -> int:
        days = self._number(alias, "trial_days", 0, 0, _LONGEST_TRIAL)
        if days and interval is None:
            self._report(
                alias,
                "trial_days",
                "only the price of a plan can begin with a trial; it is ignored",
                "solo il prezzo di un piano può iniziare con una prova; è ignorato",
            )
            return 0
        return days

    def _interval(self, alias: str, *, plan: bool) -> Interval | Literal["wrong"] | None:
        interval = self._string(alias, "interval") or "none"
        if plan and interval == "month":
            return "month"
        if plan and interval == "year":
            return "year"
        if not plan and interval == "none":
            return None
        wanted = "“month”, “year”" if plan else "“none”"
        kind, kind_it = ("plan", "un piano") if plan else ("product", "un prodotto")
        self._report(
            alias,
            "interval",
            f"“{interval}” does not suit the price of a {kind} ({wanted}); the price is not for sale",
            f"“{interval}” non è adatto al prezzo di {kind_it} ({wanted}); il prezzo non è in vendita",
        )
        return "wrong"

    # Options.

    def _string(self, section: str, option: str) -> str:
        value = self._sections.get(section, {}).get(option)
        if value is None:
            return ""
        if isinstance(value, str):
            return self._readable(section, option, value.strip())
        self._report(
            section,
            option,
            "it must be one “option”, not a list; it is ignored",
            "deve essere una sola “option”, non una lista; è ignorata",
        )
        return ""

    def _readable(self, section: str, option: str, value: str) -> str:
        """libuci keeps bytes as they are; those that are no UTF-8 can be shown nowhere."""
        readable = _NO_TEXT.sub("\ufffd", value)
        if readable != value:
            self._report(
                section,
                option,
                "it is not UTF-8 text: save the file in that encoding",
                "non è testo UTF-8: salva il file con questa codifica",
            )
        return readable

    def _list(self, section: str, option: str) -> Sequence[str]:
        value = self._sections.get(section, {}).get(option)
        if isinstance(value, str):  # `option` where `list` was meant is the commonest slip: meant the same
            return value.split()
        if isinstance(value, list | tuple):
            return [entry.strip() for entry in value if isinstance(entry, str) and entry.strip()]
        return []

    def _text(self, section: str, option: str, default: str) -> Text:
        english = self._string(section, option) or default
        return Text(english, self._string(section, f"{option}_it") or english)

    def _flag(self, section: str, option: str, *, default: bool) -> bool:
        # The words that OpenWrt's own config_get_bool accepts.
        value = self._string(section, option).lower()
        if value in ("1", "on", "true", "yes", "enabled"):
            return True
        if value in ("0", "off", "false", "no", "disabled"):
            return False
        if value:
            self._report(
                section,
                option,
                f"“{value}” is neither 1 nor 0; {int(default)} is in force",
                f"“{value}” non è né 1 né 0; vale {int(default)}",
            )
        return default

    def _number(self, section: str, option: str, default: int, least: int, most: int) -> int:
        value = self._string(section, option)
        if not value:
            return default
        if value.isascii() and value.isdecimal() and least <= int(value[:12]) <= most:
            return int(value)
        self._report(
            section,
            option,
            f"“{value}” is not a whole number from {least} to {most}; {default} is in force",
            f"“{value}” non è un numero intero da {least} a {most}; vale {default}",
        )
        return default

    def _url(self, section: str, option: str) -> str | None:
        value = self._string(section, option)
        if not value:
            return None
        if _origin(value) is None:
            self._report(
                section,
                option,
                f"“{value}” is not an http or https address; it is ignored",
                f"“{value}” non è un indirizzo http o https; è ignorato",
            )
            return None
        return value

    def _origins(self, section: str) -> tuple[str, ...]:
        origins: dict[str, None] = {}
        for value in self._list(section, "allowed_origin"):
            origin = _origin(value)
            if origin is None or urlsplit(value).path not in ("", "/"):
                self._report(
                    section,
                    "allowed_origin",
                    f"“{value}” is not an origin such as https://router.example.org; it is ignored",
                    f"“{value}” non è un'origine come https://router.example.org; è ignorata",
                )
                continue
            origins[origin] = None
        return tuple(origins)

    def _listen(self, section: str) -> tuple[str, ...]:
        addresses: dict[str, None] = {}
        for value in self._list(section, "listen"):
            shape = _LISTEN.fullmatch(value)
            if shape is None or not 0 < int(shape.group(1)) < 65_536:
                self._report(
                    section,
                    "listen",
                    f"“{value}” is not an address with a port such as 0.0.0.0:8443; it is ignored",
                    f"“{value}” non è un indirizzo con porta come 0.0.0.0:8443; è ignorato",
                )
                continue
            addresses[value] = None
        return tuple(addresses)

    def _locale(self, section: str) -> Locale:
        value = self._string(section, "locale").lower()
        if value == "en":
            return "en"
        if value == "it":
            return "it"
        if value not in ("", "auto"):
            self._report(
                section,
                "locale",
                f"“{value}” is not one of auto, en, it; auto is in force",
                f"“{value}” non è fra auto, en, it; vale auto",
            )
        return "auto"

    def _report(self, section: str, option: str, en: str, it: str) -> None:
        where = f"{section}.{option}" if option else section
        self._problems.append(Problem(section, option, Text(f"{where}: {en}.", f"{where}: {it}.")))


def _origin(url: str) -> str | None:
    """``scheme://host[:port]`` of an absolute http(s) address, None for anything else."""
    if not url.isprintable() or any(c in url for c in " \\\"'<>"):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not _HOST.fullmatch(host):
        return None
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host.lower()}" + (f":{port}" if port not in (None, default) else "")
