"""`provision`: find or create the configured products and prices at Stripe, and store their ids.

A second run finds what the first one created. A price that differs from the configuration is reported and
left as it is: a subscriber may be paying that amount every month. Only `replace` creates a new price and
transfers the lookup key to it (prices at Stripe cannot be changed); running subscriptions keep the old one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.billing.prices import differences, is_active, is_sold
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _, joined
from stripe_payments.log import Log
from stripe_payments.settings import Price, Settings
from stripe_payments.setup.catalog_at_stripe import (
    PriceAtStripe,
    Raw,
    WantedProduct,
    describe,
    product_id_of,
    read_prices,
    wanted_products,
)
from stripe_payments.stripe_api import StripeAPI, is_missing, is_replayed
from ubus_py import CallTimeout, Client, ConnectionLost, ProtocolError, Status, StatusError

if TYPE_CHECKING:
    from stripe_payments.stripe_api.parameters import PriceCreateParams, ProductCreateParams

_log = Log("provision")

_PAGES: Final = 10
"""Pages of a hundred products: for an account with more than a thousand, set `stripe_product`."""
_STORE_TIMEOUT_S: Final = 10.0

_INACTIVE: Final = _("the price or its product is archived in Stripe")
_HINTS: Final = {
    "different": _(
        "Correct the price in /etc/config/stripe-payments, or call “provision” with replace=true: it creates "
        "a new price in Stripe; existing subscriptions keep the old one."
    ),
    "inactive": _(
        "Unarchive it in the Stripe Dashboard, or call “provision” with replace=true to create a new price."
    ),
}
_USER_HINTS: Final = {
    "different": _(
        "Correct the price in the catalog, or replace it: this creates a new price in Stripe; existing "
        "subscriptions keep the old one."
    ),
    "inactive": _("Unarchive it in the Stripe Dashboard, or replace it with a new price."),
}
"""What to do about a price in this state, in a shell and in LuCI."""
_AWAY: Final = _("rpcd does not provide “stripe-payments.uci”")
_NOT_WRITTEN: Final = _("the file is malformed or the storage full")
_REASONS: Final = {Status.NOT_FOUND: _AWAY, Status.UNKNOWN_ERROR: _NOT_WRITTEN}


Store = Callable[[Mapping[str, str]], Awaitable[None]]


@dataclass(slots=True)
class _Report:
    """The result of a run, one row per product and price, with texts in one language. `titles`: of the plans
    and products, by name. A product's prices follow it.
    """

    locale: str | None
    dry_run: bool
    titles: Mapping[str, str]
    products: list[dict[str, Any]] = field(default_factory=list)
    prices: list[dict[str, Any]] = field(default_factory=list)
    to_store: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def product(self, wanted: WantedProduct, product_id: str | None, *, created: bool) -> None:
        self.products.append(
            {
                "id": wanted.name,
                "title": wanted.title,
                "product_id": product_id,
                "state": "missing" if created else "found",
                "action": "create" if created else "",
            }
        )

    def price(
        self,
        wanted: Price,
        raw: Raw | None,
        *,
        state: str,
        action: str = "",
        detail: Text | None = None,
    ) -> None:
        found = differences(wanted, raw) if raw is not None and state == "different" else ()
        self.prices.append(
            {
                "id": wanted.alias,
                "title": self.titles.get(wanted.of, wanted.of),
                "product": self.products[-1]["id"],
                "price_id": str(raw["id"]) if raw is not None else None,
                "product_id": product_id_of(raw) if raw is not None else None,
                "amount": wanted.amount,
                "currency": wanted.currency,
                "interval": wanted.interval,
                "state": state,
                "action": action,
                "differences": [
                    {"field": one.field, "configured": one.configured, "at_stripe": one.at_stripe}
                    for one in found
                ],
                "detail": self.shown(detail),
                "hint": self.shown(None if action else _HINTS.get(state)),
                "user_hint": self.shown(None if action else _USER_HINTS.get(state)),
            }
        )

    def shown(self, text: Text | None) -> str:
        return text.in_locale(self.locale) if text is not None else ""

    def reply(self, mode: str) -> dict[str, Any]:
        def products(**wanted: str) -> list[str]:
            return [row["id"] for row in self.products if all(row[key] == wanted[key] for key in wanted)]

        def prices(**wanted: str) -> list[str]:
            return [row["id"] for row in self.prices if all(row[key] == wanted[key] for key in wanted)]

        return {
            "dry_run": self.dry_run,
            "mode": mode,
            "created": {"products": products(action="create"), "prices": prices(action="create")},
            "found": {"products": products(state="found"), "prices": prices(state="found")},
            "replaced": prices(action="replace"),
            "different": [row["id"] for row in self.prices if row["detail"] and not row["action"]],
            "products": self.products,
            "prices": self.prices,
            "problems": self.problems,
            "stored": {} if self.dry_run else self.to_store,
        }


class Provisioner:
    """`store` keeps the price ids by alias; `reload` loads the configuration, which may have been edited a
    moment ago, and again after price ids were written to it: they apply when the caller gets the reply.
    """

    def __init__(
        self,
        stripe: StripeAPI,
        settings: Callable[[], Settings],
        store: Store,
        mode: Callable[[], str],
        reload: Callable[[], Awaitable[None]],
    ) -> None:
        self._stripe = stripe
        self._settings = settings
        self._store = store
        self._mode = mode
        self._reload = reload
        self._lock = asyncio.Lock()

    async def provision(
        self, *, dry_run: bool = False, replace: bool = False, locale: str | None = None
    ) -> dict[str, Any]:
        """Return `{dry_run, mode, created {products[], prices[]}, found {products[], prices[]}, replaced[],
        different[], products[], prices[], problems[], stored {alias: price_id}}`; with `dry_run` nothing is
        changed.

        A product row is {id, title, product_id, state, action}, a price row {id, title (of its
        plan or product), product (the id of its product row), price_id, product_id, amount, currency,
        interval, state, action, differences[] {field, configured, at_stripe}, detail, hint, user_hint};
        state: found, missing, different, inactive; action: empty, create, replace;
        `problems` are texts about what is configured but not for sale, as `check` has them. Raises Stripe's
        errors (`stripe_key_permission` names the permission), `settings_malformed` and `settings_not_stored`;
        what was created by then is found by the next run.
        """
        async with self._lock:
            await self._reload()
            settings = self._settings()
            if settings.malformed:
                raise PaymentError("settings_malformed")
            sold = {**settings.plans, **settings.products}
            report = _Report(locale, dry_run, {name: one.title_in(locale) for name, one in sold.items()})
            report.problems = [
                report.shown(problem.text) for problem in settings.problems if problem.section != "main"
            ]
            at_stripe = await read_prices(self._stripe, settings)
            products = _Products(self._stripe)
            try:
                for wanted in wanted_products(settings):
                    await self._product(wanted, at_stripe, products, report, replace=replace)
            finally:
                if not dry_run and report.to_store:
                    await self._store(report.to_store)
                    _log.info("price ids stored", prices=",".join(report.to_store))
                    await self._reload()
            return report.reply(self._mode())

    async def _product(
        self,
        wanted: WantedProduct,
        at_stripe: Mapping[str, PriceAtStripe],
        products: _Products,
        report: _Report,
        *,
        replace: bool,
    ) -> None:
        chosen = {price.alias: at_stripe[price.alias].chosen for price in wanted.prices}
        product_id = await products.find(wanted, [raw for raw in chosen.values() if raw is not None])
        created = product_id is None
        if product_id is None and not report.dry_run:
            product_id = await products.create(wanted)
        report.product(wanted, product_id, created=created)
        for price in wanted.prices:
            raw = chosen[price.alias]
            detail, state = _compare(price, raw)
            if state == "found" or (raw is not None and not replace):
                report.price(price, raw, state=state, detail=detail)
                if state == "found" and raw is not None and raw["id"] != price.price_id:
                    report.to_store[price.alias] = str(raw["id"])
                continue
            action = "create" if raw is None else "replace"
            made = raw
            if not report.dry_run and product_id is not None:
                made, product_id = await self._create_price(
                    price, wanted, product_id, products, transfer=action == "replace"
                )
                report.to_store[price.alias] = str(made["id"])
            report.price(price, made, state=state, action=action, detail=detail)

    async def _create_price(
        self, price: Price, wanted: WantedProduct, product_id: str, products: _Products, *, transfer: bool
    ) -> tuple[Raw, str]:
        """The price, and its product, which may have to be created again."""
        try:
            return await self._post_price(price, product_id, transfer=transfer), product_id
        except PaymentError as error:
            if error.details.get("param") == "product" and is_missing(error) and not wanted.product_id:
                # the idempotency key returned a product that was deleted in the meantime
                product_id = await products.create(wanted, instead_of=product_id)
                return await self._post_price(price, product_id, transfer=transfer), product_id
            if error.details.get("param") == "lookup_key" and not transfer:
                # another router of the fleet, set up at the same time, was faster
                page = await self._stripe.list("price", {"lookup_keys": [price.alias], "limit": 1})
                if page.data:
                    return page.data[0], product_id
            raise

    async def _post_price(self, price: Price, product_id: str, *, transfer: bool) -> Raw:
        params: PriceCreateParams = {
            "product": product_id,
            "currency": price.currency,
            "unit_amount": price.amount,
            "lookup_key": price.alias,
            "nickname": price.alias,
            "metadata": {"price_alias": price.alias, "item": price.of},
        }
        if price.interval is not None:
            params["recurring"] = {"interval": price.interval}
        if price.tax_behavior is not None:
            params["tax_behavior"] = price.tax_behavior
        if transfer:
            params["transfer_lookup_key"] = True
        # a key of this attempt alone: yesterday's would return a price that was archived in the meantime
        made = await self._stripe.create("price", params, f"price-{uuid.uuid4().hex}")
        _log.info("price created", price=price.alias, id=made["id"], product=product_id)
        return made


async def store_in_uci(bus: Client, prices: Mapping[str, str]) -> None:
    """Write price ids to `/etc/config/stripe-payments`. Raises PaymentError `settings_not_stored`."""
    try:
        await bus.call(
            "stripe-payments.uci", "store_prices", {"prices": dict(prices)}, timeout=_STORE_TIMEOUT_S
        )
    except StatusError as error:
        reason = _REASONS.get(error.status) or Text(error.status.name)
        raise PaymentError("settings_not_stored", reason=reason) from error
    except (ConnectionLost, CallTimeout, ProtocolError) as error:
        raise PaymentError("settings_not_stored", reason=_AWAY) from error


def _compare(price: Price, raw: Raw | None) -> tuple[Text | None, str]:
    """Detail and state: found, missing, different, inactive."""
    if raw is None:
        return None, "missing"
    if found := differences(price, raw):
        texts = [describe(one, str(raw.get("currency"))) for one in found]
        return joined(texts), "different"
    if not is_active(raw):
        return _INACTIVE, "inactive"
    return None, "found"


class _Products:
    """Finds a product by its prices, else by its metadata `item`; creates it."""

    def __init__(self, stripe: StripeAPI) -> None:
        self._stripe = stripe
        self._by_item: dict[str, str] | None = None

    async def find(self, wanted: WantedProduct, prices: list[Raw]) -> str | None:
        """The product's id, None if there is none. `prices`: those of its prices that exist."""
        if wanted.product_id is not None:
            return wanted.product_id
        for raw in (*filter(is_active, prices), *prices):
            if (product_id := product_id_of(raw)) is not None and is_sold(raw):
                return product_id
        if self._by_item is None:
            self._by_item = await self._read_items()
        return self._by_item.get(wanted.name)

    async def create(self, wanted: WantedProduct, *, instead_of: str | None = None) -> str:
        """Two routers of a fleet that are set up at the same time get the same product: the idempotency key
        is a digest of the parameters. `instead_of`: the product that this key returned, deleted since.
        """
        params: ProductCreateParams = {"name": wanted.title, "metadata": {"item": wanted.name}}
        if wanted.description:
            params["description"] = wanted.description
        digest = hashlib.sha256(json.dumps([params, instead_of], sort_keys=True).encode()).hexdigest()
        key = f"product-{digest[:40]}"
        try:
            made: Raw = await self._stripe.create("product", params, key)
        except PaymentError as error:
            if not is_replayed(error):
                raise
            # for a day this key would fail; the request that failed may have created the product all the same
            created = (await self._read_items()).get(wanted.name)
            if created is not None:
                return created
            made = await self._stripe.create("product", params, f"{key}-{uuid.uuid4().hex}")
        _log.info("product created", product=wanted.name, id=made["id"])
        return str(made["id"])

    async def _read_items(self) -> dict[str, str]:
        """Product ids by metadata `item`. Not by Search, which lags by a minute: a second product would be
        created.
        """
        by_item: dict[str, str] = {}
        after: str | None = None
        for _page in range(_PAGES):
            page = await self._stripe.list(
                "product", {"active": True, "limit": 100, **({"starting_after": after} if after else {})}
            )
            for product in page.data:
                item = (product.get("metadata") or {}).get("item")
                if isinstance(item, str):
                    by_item[item] = str(product["id"])  # newest first, so the oldest one wins
            if not page.has_more or not page.data:
                break
            after = str(page.data[-1]["id"])
        return by_item
