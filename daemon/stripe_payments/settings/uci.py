"""UCI sections to `Settings`. Pure: what is wrong is reported as a `Problem`, and read as if it were not
there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal
from urllib.parse import urlsplit

from stripe_payments.currencies import decimal_amount, maximum_charge, minimum_charge, step
from stripe_payments.i18n import Text, Title, _
from stripe_payments.settings.model import (
    DEFAULT_GRACE_DAYS,
    DEFAULT_OFFLINE_DAYS,
    DEFAULT_POLL_INTERVAL,
    Feature,
    Interval,
    Locale,
    Plan,
    Price,
    Problem,
    Product,
    Settings,
    TaxBehavior,
)

__all__ = ["Sections", "is_hub_address", "settings_from_uci"]

Sections = Mapping[str, Mapping[str, object]]
"""UCI sections by name; options as strings or lists of strings, rpcd's own under ``.type``, ``.name`` …"""

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
"""The name of a section, and so of everything that is sold and unlocked."""

_DIGITS = re.compile(r"0*([0-9]{1,12})")
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
_NO_TEXT = re.compile("[\ud800-\udfff]")  # how ubus_py represents other bytes
_LISTEN = re.compile(r"(?:(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):)?([0-9]{1,5})")

_PRICE_ID = re.compile(r"price_[A-Za-z0-9_]+")
_PRODUCT_ID = re.compile(r"prod_[A-Za-z0-9_]+")
_CURRENCY = re.compile(r"[a-z]{3}")
_LONGEST_TRIAL: Final = 730  # https://docs.stripe.com/api/checkout/sessions/create: trial_period_days


def settings_from_uci(sections: Sections) -> Settings:
    """Read the sections of the configuration ``stripe-payments``. Never raises: see `Settings.problems`."""
    options = _Options(sections)
    features = {name: _feature(options, name) for name in options.of_type("feature")}
    plans = {name: _plan(options, name, features) for name in options.of_type("plan")}
    products = {name: _product(options, name, features) for name in options.of_type("product")}
    tax_behavior = options.tax_behavior("main", "tax_behavior")
    prices = {
        alias: replace(price, tax_behavior=tax_behavior)
        for alias, price in _prices(options, plans, products).items()
    }
    for name in plans | products:
        if not any(price.of == name for price in prices.values()):
            options.report(name, "", _("it has no price and cannot be bought: add a section “config price”"))
    main = "main"
    if main not in options:
        options.report(main, "", _("the section “config payments 'main'” is missing; the defaults apply"))
    return Settings(
        enabled=options.flag(main, "enabled", default=True),
        hub=options.hub(main, "hub"),
        hub_code=options.string(main, "hub_code") or None,
        managed=options.flag(main, "managed", default=False),
        public_url=options.url(main, "public_url"),
        listen=options.addresses(main, "listen"),
        phone_return_url=options.url(main, "phone_return_url"),
        poll_interval=options.number(main, "poll_interval", DEFAULT_POLL_INTERVAL, 60, 86_400),
        grace_days=options.number(main, "grace_days", DEFAULT_GRACE_DAYS, 0, 365),
        offline_days=options.number(main, "offline_days", DEFAULT_OFFLINE_DAYS, 0, 3_650),
        locale=options.locale(main, "locale"),
        allowed_origins=options.origins(main, "allowed_origin"),
        allow_promotion_codes=options.flag(main, "allow_promotion_codes", default=False),
        trust_pending_debits=options.flag(main, "trust_pending_debits", default=False),
        lock_paused=options.flag(main, "lock_paused", default=False),
        automatic_tax=options.flag(main, "automatic_tax", default=False),
        tax_behavior=tax_behavior,
        tax_id_collection=options.flag(main, "tax_id_collection", default=False),
        invoice_creation=options.flag(main, "invoice_creation", default=False),
        terms_of_service=options.flag(main, "terms_of_service", default=False),
        plans=plans,
        products=products,
        prices=prices,
        features=features,
        problems=options.problems,
    )


class _Options:
    """One pass over the sections, which collects the problems. A missing section or option reads as empty."""

    def __init__(self, sections: Sections) -> None:
        self._sections = sections
        self._problems: list[Problem] = []

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was reported so far, in that order."""
        return tuple(self._problems)

    def __contains__(self, section: str) -> bool:
        """Whether there is a section of that name."""
        return section in self._sections

    def type_of(self, section: str) -> object:
        """``plan`` of ``config plan 'base'``; None where there is no such section."""
        return self._sections.get(section, {}).get(".type")

    def of_type(self, kind: str) -> Iterator[str]:
        """The names of the sections ``config kind 'name'``, in the order of the file."""
        for name, section in self._sections.items():
            if section.get(".type") != kind:
                continue
            if section.get(".anonymous") is True or not _NAME.fullmatch(name):
                self.report(
                    name,
                    "",
                    _(
                        "a section “config {kind}” needs a name of letters, digits and underscores; it is "
                        "ignored",
                        kind=kind,
                    ),
                )
                continue
            yield name

    def string(self, section: str, option: str) -> str:
        """An option without leading and trailing blanks."""
        value = self._sections.get(section, {}).get(option)
        if value is None:
            return ""
        if isinstance(value, str):
            return self._readable(section, option, value.strip())
        self.report(section, option, _("it must be one “option”, not a list; it is ignored"))
        return ""

    def _readable(self, section: str, option: str, value: str) -> str:
        """libuci keeps bytes as they are; those that are not UTF-8 cannot be displayed."""
        readable = _NO_TEXT.sub("\ufffd", value)
        if readable != value:
            self.report(section, option, _("it is not UTF-8; save the file as UTF-8"))
        return readable

    def strings(self, section: str, option: str) -> Sequence[str]:
        """The entries of a list; of a single option, its words."""
        value = self._sections.get(section, {}).get(option)
        if isinstance(value, str):  # `option` instead of `list` is a common mistake: treated alike
            return value.split()
        if isinstance(value, list | tuple):
            return [entry.strip() for entry in value if isinstance(entry, str) and entry.strip()]
        return []

    def text(self, section: str, option: str, default: str) -> Title:
        """`option` and `option`_it; without an Italian text the English one is used for both."""
        english = self.string(section, option) or default
        return Title(english, self.string(section, f"{option}_it") or english)

    def flag(self, section: str, option: str, *, default: bool) -> bool:
        """1 or 0, or a word for it."""
        # The words that OpenWrt's own config_get_bool accepts.
        value = self.string(section, option).lower()
        if value in ("1", "on", "true", "yes", "enabled"):
            return True
        if value in ("0", "off", "false", "no", "disabled"):
            return False
        if value:
            self.report(
                section,
                option,
                _("“{value}” is neither 1 nor 0; {default} applies", value=value, default=int(default)),
            )
        return default

    def number(self, section: str, option: str, default: int, least: int, most: int) -> int:
        """A whole number from `least` to `most`, else `default`."""
        value = self.string(section, option)
        if not value:
            return default
        number = _whole_number(value)
        if number is not None and least <= number <= most:
            return number
        self.report(
            section,
            option,
            _(
                "“{value}” is not an integer between {least} and {most}; {default} applies",
                value=value,
                least=least,
                most=most,
                default=default,
            ),
        )
        return default

    def url(self, section: str, option: str) -> str | None:
        """An absolute http or https address."""
        value = self.string(section, option)
        if not value:
            return None
        if _origin(value) is None:
            self.report(
                section, option, _("“{value}” is not an http or https URL; it is ignored", value=value)
            )
            return None
        return value

    def hub(self, section: str, option: str) -> str | None:
        """The address of a hub, without a slash at its end. One that cannot be used is reported and returned:
        to ignore it would turn the router into one that sells by itself.
        """
        value = self.string(section, option)
        if not value:
            return None
        origin = _origin(value)
        if origin is None or urlsplit(value).path not in ("", "/") or not is_hub_address(origin):
            self.report(
                section,
                option,
                _("“{value}” is not an address such as https://hub.example.org", value=value),
            )
            return value
        return origin

    def origins(self, section: str, option: str) -> tuple[str, ...]:
        """A list of ``scheme://host[:port]``, each once."""
        origins: dict[str, None] = {}
        for value in self.strings(section, option):
            origin = _origin(value)
            if origin is None or urlsplit(value).path not in ("", "/"):
                self.report(
                    section,
                    option,
                    _(
                        "“{value}” is not an origin such as https://router.example.org; it is ignored",
                        value=value,
                    ),
                )
                continue
            origins[origin] = None
        return tuple(origins)

    def addresses(self, section: str, option: str) -> tuple[str, ...]:
        """A list of ``[host:]port``, each once."""
        addresses: dict[str, None] = {}
        for value in self.strings(section, option):
            shape = _LISTEN.fullmatch(value)
            if shape is None or not 0 < int(shape.group(1)) < 65_536:
                self.report(
                    section,
                    option,
                    _(
                        "“{value}” is not an address with a port such as 0.0.0.0:8443; it is ignored",
                        value=value,
                    ),
                )
                continue
            addresses[value] = None
        return tuple(addresses)

    def locale(self, section: str, option: str) -> Locale:
        """A supported language, else ``auto``."""
        value = self.string(section, option).lower()
        if value == "en":
            return "en"
        if value == "it":
            return "it"
        if value not in ("", "auto"):
            self.report(section, option, _("“{value}” is not one of auto, en, it; auto applies", value=value))
        return "auto"

    def tax_behavior(self, section: str, option: str) -> TaxBehavior | None:
        """Whether the prices include tax, None where the Stripe account decides."""
        value = self.string(section, option).lower()
        if value == "inclusive":
            return "inclusive"
        if value == "exclusive":
            return "exclusive"
        if value:
            self.report(
                section,
                option,
                _("“{value}” is neither inclusive nor exclusive; Stripe's default applies", value=value),
            )
        return None

    def report(self, section: str, option: str, problem: Text) -> None:
        """Add a problem; the sentence comes without the place and the full stop."""
        where = f"{section}.{option}" if option else section
        self._problems.append(
            Problem(section, option, Text("{where}: {problem}.", (("where", where), ("problem", problem))))
        )


def is_hub_address(url: str) -> bool:
    """Whether `url` is an https origin, or an http one of this machine, for tests."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname == "127.0.0.1")


def _whole_number(value: str) -> int | None:
    """The number in `value`, of up to twelve digits after leading zeros; None for anything else."""
    shape = _DIGITS.fullmatch(value)
    return int(shape.group(1)) if shape is not None else None


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


def _feature(options: _Options, name: str) -> Feature:
    return Feature(name, options.text(name, "title", name), options.text(name, "description", ""))


def _plan(options: _Options, name: str, features: dict[str, Feature]) -> Plan:
    titles, descriptions = options.text(name, "title", name), options.text(name, "description", "")
    return Plan(
        name, titles, descriptions, _features(options, name, features), _stripe_product(options, name)
    )


def _product(options: _Options, name: str, features: dict[str, Feature]) -> Product:
    titles, descriptions = options.text(name, "title", name), options.text(name, "description", "")
    return Product(
        name, titles, descriptions, _features(options, name, features), _stripe_product(options, name)
    )


def _stripe_product(options: _Options, name: str) -> str | None:
    value = options.string(name, "stripe_product")
    if not value or value == name:
        return None
    if _PRODUCT_ID.fullmatch(value) or options.type_of(value) in ("plan", "product"):
        return value
    options.report(
        name,
        "stripe_product",
        _(
            "“{value}” is neither a plan or product of this file nor a Stripe product id (prod_…); it is "
            "ignored",
            value=value,
        ),
    )
    return None


def _features(options: _Options, section: str, known: dict[str, Feature]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for name in options.strings(section, "feature"):
        if not _NAME.fullmatch(name):
            options.report(
                section,
                "feature",
                _("“{name}” is not a valid feature name: use letters, digits and underscores", name=name),
            )
            continue
        if name not in known:
            # What is listed is sold: it must unlock, even without a description.
            known[name] = Feature(name, Title(name, name), Title("", ""))
            options.report(
                section,
                "feature",
                _("the feature “{name}” has no section “config feature '{name}'” with a title", name=name),
            )
        names[name] = None
    if not names:
        options.report(section, "feature", _("it unlocks nothing: add “list feature”"))
    return tuple(names)


def _prices(
    options: _Options, plans: Mapping[str, Plan], products: Mapping[str, Product]
) -> dict[str, Price]:
    prices: dict[str, Price] = {}
    taken: dict[str, str] = {}
    for alias in options.of_type("price"):
        price = _price(options, alias, plans, products)
        if price is None:
            continue
        if price.price_id is not None and price.price_id in taken:
            options.report(
                alias,
                "price_id",
                _(
                    "“{price_id}” is already used by the price “{alias}”; it is ignored",
                    price_id=price.price_id,
                    alias=taken[price.price_id],
                ),
            )
            price = replace(price, price_id=None)
        if price.price_id is not None:
            taken[price.price_id] = alias
        prices[alias] = price
    return prices


def _price(
    options: _Options, alias: str, plans: Mapping[str, Plan], products: Mapping[str, Product]
) -> Price | None:
    of = options.string(alias, "of")
    if of not in plans and of not in products:
        options.report(alias, "of", _("there is no plan or product “{of}”; the price is not for sale", of=of))
        return None
    currency = options.string(alias, "currency").lower() or "eur"
    if not _CURRENCY.fullmatch(currency):
        options.report(
            alias,
            "currency",
            _(
                "“{currency}” is not a three-letter currency code such as eur; the price is not for sale",
                currency=currency,
            ),
        )
        return None
    amount = _amount(options, alias, currency)
    if amount is None:
        return None
    interval = _interval(options, alias, plan=of in plans)
    if interval == "wrong":
        return None
    price_id: str | None = options.string(alias, "price_id") or None
    if price_id is not None and not _PRICE_ID.fullmatch(price_id):
        options.report(
            alias,
            "price_id",
            _("“{price_id}” is not a Stripe price id (price_…); it is ignored", price_id=price_id),
        )
        price_id = None
    return Price(
        alias,
        of,
        price_id,
        amount,
        currency,
        interval,
        trial_days=_trial_days(options, alias, interval),
        trial_requires_card=options.flag(alias, "trial_requires_card", default=True),
    )


def _amount(options: _Options, alias: str, currency: str) -> int | None:
    """In minor units; None, with a problem, for what Stripe does not charge in this currency."""
    written = options.string(alias, "amount")
    amount = _whole_number(written)
    if amount is None or amount > maximum_charge(currency):
        problem = _(
            "“{written}” is not an amount in the smallest unit of the currency (4999 for €49.99); the "
            "price is not for sale",
            written=written,
        )
    elif amount % step(currency):
        problem = _(
            "“{written}” is not a multiple of {step}, which Stripe requires in {currency}; the price is not "
            "for sale",
            written=written,
            step=step(currency),
            currency=currency.upper(),
        )
    elif 0 < amount < minimum_charge(currency):
        problem = _(
            "“{written}” is below Stripe's minimum of {minimum} {currency}; the price is not for sale",
            written=written,
            minimum=decimal_amount(minimum_charge(currency), currency),
            currency=currency.upper(),
        )
    else:
        return amount
    options.report(alias, "amount", problem)
    return None


def _trial_days(options: _Options, alias: str, interval: Interval | None) -> int:
    days = options.number(alias, "trial_days", 0, 0, _LONGEST_TRIAL)
    if days and interval is None:
        options.report(alias, "trial_days", _("only the price of a plan can have a trial; it is ignored"))
        return 0
    return days


def _interval(options: _Options, alias: str, *, plan: bool) -> Interval | Literal["wrong"] | None:
    interval = options.string(alias, "interval") or "none"
    if plan and interval == "month":
        return "month"
    if plan and interval == "year":
        return "year"
    if not plan and interval == "none":
        return None
    wanted = "“month”, “year”" if plan else "“none”"
    options.report(
        alias,
        "interval",
        _(
            "“{interval}” is not valid for the price of a plan ({wanted}); the price is not for sale",
            interval=interval,
            wanted=wanted,
        )
        if plan
        else _(
            "“{interval}” is not valid for the price of a product ({wanted}); the price is not for sale",
            interval=interval,
            wanted=wanted,
        ),
    )
    return "wrong"
