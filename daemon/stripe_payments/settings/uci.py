"""UCI sections to `Settings`. Pure: what is wrong is reported as a `Problem`, and read as if it were not
there.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, TypeVar

from stripe_payments.currencies import decimal_amount, maximum_charge, minimum_charge, step
from stripe_payments.i18n import Title, _
from stripe_payments.settings.model import (
    DEFAULT_GRACE_DAYS,
    DEFAULT_OFFLINE_DAYS,
    DEFAULT_POLL_INTERVAL,
    Feature,
    Interval,
    Plan,
    Price,
    Product,
    Settings,
)
from stripe_payments.settings.options import NAME, Options, Sections, whole_number

__all__ = ["settings_from_uci"]

T = TypeVar("T", Plan, Product)

_PRICE_ID = re.compile(r"price_[A-Za-z0-9_]+")
_PRODUCT_ID = re.compile(r"prod_[A-Za-z0-9_]+")
_CURRENCY = re.compile(r"[a-z]{3}")
_LONGEST_TRIAL: Final = 730  # https://docs.stripe.com/api/checkout/sessions/create: trial_period_days


def settings_from_uci(sections: Sections) -> Settings:
    """Read the sections of the configuration ``stripe-payments``. Never raises: see `Settings.problems`."""
    options = Options(sections)
    features = {name: _feature(options, name) for name in options.of_type("feature")}
    plans = {name: _sellable(Plan, options, name, features) for name in options.of_type("plan")}
    products = {name: _sellable(Product, options, name, features) for name in options.of_type("product")}
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
        seller=options.string(main, "seller"),
        support_url=options.url(main, "support_url"),
        terms_url=options.url(main, "terms_url"),
        privacy_url=options.url(main, "privacy_url"),
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


def _feature(options: Options, name: str) -> Feature:
    return Feature(name, options.text(name, "title", name), options.text(name, "description", ""))


def _sellable(kind: type[T], options: Options, name: str, features: dict[str, Feature]) -> T:
    return kind(
        name,
        options.text(name, "title", name),
        options.text(name, "description", ""),
        _features(options, name, features),
        _stripe_product(options, name),
    )


def _stripe_product(options: Options, name: str) -> str | None:
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


def _features(options: Options, section: str, known: dict[str, Feature]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for name in options.strings(section, "feature"):
        if not NAME.fullmatch(name):
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


def _prices(options: Options, plans: Mapping[str, Plan], products: Mapping[str, Product]) -> dict[str, Price]:
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
    options: Options, alias: str, plans: Mapping[str, Plan], products: Mapping[str, Product]
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


def _amount(options: Options, alias: str, currency: str) -> int | None:
    """In minor units; None, with a problem, for what Stripe does not charge in this currency."""
    written = options.string(alias, "amount")
    amount = whole_number(written)
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


def _trial_days(options: Options, alias: str, interval: Interval | None) -> int:
    days = options.number(alias, "trial_days", 0, 0, _LONGEST_TRIAL)
    if days and interval is None:
        options.report(alias, "trial_days", _("only the price of a plan can have a trial; it is ignored"))
        return 0
    return days


def _interval(options: Options, alias: str, *, plan: bool) -> Interval | Literal["wrong"] | None:
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
