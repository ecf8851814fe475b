"""The sections ``feature``, ``plan``, ``product`` and ``price`` as what is for sale."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from stripe_payments.i18n import Title, _
from stripe_payments.settings.catalogue import Feature, Interval, Plan, Price, Product
from stripe_payments.settings.uci import NAME, OptionReader, whole_number

__all__ = ["Catalogue", "read_catalogue"]

_PRICE_ID = re.compile(r"price_[A-Za-z0-9_]+")
_PRODUCT_ID = re.compile(r"prod_[A-Za-z0-9_]+")
_CURRENCY = re.compile(r"[a-z]{3}")
_LONGEST_TRIAL: Final = 730  # https://docs.stripe.com/api/checkout/sessions/create: trial_period_days
_LARGEST_AMOUNT: Final = 99_999_999  # https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts


class Catalogue(NamedTuple):
    """All that is for sale and all that it unlocks, by name, in the order of the file."""

    features: Mapping[str, Feature]
    plans: Mapping[str, Plan]
    products: Mapping[str, Product]
    prices: Mapping[str, Price]


def read_catalogue(options: OptionReader) -> Catalogue:
    """What the sections have for sale; what is wrong with them is reported to `options`."""
    features = {name: _feature(options, name) for name in options.of_type("feature")}
    plans = {name: _plan(options, name, features) for name in options.of_type("plan")}
    products = {name: _product(options, name, features) for name in options.of_type("product")}
    prices = _prices(options, plans, products)
    for name, sold in (plans | products).items():
        if not any(price.of == name for price in prices.values()):
            options.report(
                sold.name,
                "",
                _("it has no price, so nobody can buy it: add a section “config price”"),
            )
    return Catalogue(features, plans, products, prices)


def _feature(options: OptionReader, name: str) -> Feature:
    return Feature(name, options.text(name, "title", name), options.text(name, "description", ""))


def _plan(options: OptionReader, name: str, features: dict[str, Feature]) -> Plan:
    titles, descriptions = options.text(name, "title", name), options.text(name, "description", "")
    return Plan(
        name, titles, descriptions, _features(options, name, features), _stripe_product(options, name)
    )


def _product(options: OptionReader, name: str, features: dict[str, Feature]) -> Product:
    titles, descriptions = options.text(name, "title", name), options.text(name, "description", "")
    return Product(
        name, titles, descriptions, _features(options, name, features), _stripe_product(options, name)
    )


def _stripe_product(options: OptionReader, name: str) -> str | None:
    value = options.string(name, "stripe_product")
    if not value or value == name:
        return None
    if _PRODUCT_ID.fullmatch(value) or options.type_of(value) in ("plan", "product"):
        return value
    options.report(
        name,
        "stripe_product",
        _(
            "“{value}” is neither a plan or product of this file nor the id of a product at Stripe (prod_…); "
            "it is ignored",
            value=value,
        ),
    )
    return None


def _features(options: OptionReader, section: str, known: dict[str, Feature]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for name in options.strings(section, "feature"):
        if not NAME.fullmatch(name):
            options.report(
                section,
                "feature",
                _("“{name}” is not a feature's name: letters, digits and underscores only", name=name),
            )
            continue
        if name not in known:
            # What is listed is sold: it must unlock, even if nobody has described it.
            known[name] = Feature(name, Title(name, name), Title("", ""))
            options.report(
                section,
                "feature",
                _("the feature “{name}” has no section “config feature '{name}'” with its title", name=name),
            )
        names[name] = None
    if not names:
        options.report(
            section,
            "feature",
            _("it unlocks nothing: add “list feature”"),
        )
    return tuple(names)


def _prices(
    options: OptionReader, plans: Mapping[str, Plan], products: Mapping[str, Product]
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
                    "“{price_id}” is already the price “{alias}”; it is ignored here",
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
    options: OptionReader, alias: str, plans: Mapping[str, Plan], products: Mapping[str, Product]
) -> Price | None:
    of = options.string(alias, "of")
    if of not in plans and of not in products:
        options.report(
            alias,
            "of",
            _("there is no plan or product “{of}”; the price is not for sale", of=of),
        )
        return None
    written = options.string(alias, "amount")
    amount = whole_number(written)
    if amount is None or amount > _LARGEST_AMOUNT:
        options.report(
            alias,
            "amount",
            _(
                "“{written}” is not an amount in the smallest unit of the currency (4999 for €49.99); the "
                "price is not for sale",
                written=written,
            ),
        )
        return None
    currency = options.string(alias, "currency").lower() or "eur"
    if not _CURRENCY.fullmatch(currency):
        options.report(
            alias,
            "currency",
            _(
                "“{currency}” is not a currency's code of three letters, such as eur; the price is not for "
                "sale",
                currency=currency,
            ),
        )
        return None
    interval = _interval(options, alias, plan=of in plans)
    if interval == "wrong":
        return None
    price_id: str | None = options.string(alias, "price_id") or None
    if price_id is not None and not _PRICE_ID.fullmatch(price_id):
        options.report(
            alias,
            "price_id",
            _("“{price_id}” is not the id of a price at Stripe (price_…); it is ignored", price_id=price_id),
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


def _trial_days(options: OptionReader, alias: str, interval: Interval | None) -> int:
    days = options.number(alias, "trial_days", 0, 0, _LONGEST_TRIAL)
    if days and interval is None:
        options.report(
            alias,
            "trial_days",
            _("only the price of a plan can begin with a trial; it is ignored"),
        )
        return 0
    return days


def _interval(options: OptionReader, alias: str, *, plan: bool) -> Interval | Literal["wrong"] | None:
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
            "“{interval}” does not suit the price of a plan ({wanted}); the price is not for sale",
            interval=interval,
            wanted=wanted,
        )
        if plan
        else _(
            "“{interval}” does not suit the price of a product ({wanted}); the price is not for sale",
            interval=interval,
            wanted=wanted,
        ),
    )
    return "wrong"
