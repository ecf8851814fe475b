"""The vendor's catalog: one TOML file, validated, kept as a version with the price ids of Stripe.

    [seller]
    name = "Example Networks"

    [options]
    grace_days = 7

    [features.daily_backup]
    title = "Daily backups"
    title_it = "Backup giornalieri"

    [plans.premium]
    title = "Premium"
    features = ["daily_backup"]

    [products.lifetime]
    title = "Premium for ever"
    features = ["daily_backup"]

    [prices.premium_monthly]
    of = "premium"
    amount = 499
    currency = "eur"
    interval = "month"

The options of a section are those of `/etc/config/stripe-payments`, and are read by the same code.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from payments_hub.database import Async, Database
from payments_hub.errors import HubError
from stripe_payments.settings import Settings, settings_from_uci

__all__ = ["Catalog", "CatalogError", "Catalogs", "parse"]

_KINDS: Final = {"features": "feature", "plans": "plan", "products": "product", "prices": "price"}
_RENAMED: Final = {"features": "feature"}
_OPTIONS: Final = frozenset(
    {
        "grace_days",
        "offline_days",
        "locale",
        "allow_promotion_codes",
        "trust_pending_debits",
        "lock_paused",
        "automatic_tax",
        "tax_behavior",
        "tax_id_collection",
        "invoice_creation",
        "terms_of_service",
    }
)


class CatalogError(Exception):
    """The file cannot be sold from; `problems` are sentences for the vendor."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Catalog:
    """`version` 0: of a file, not applied yet. `seller`: name, and whatever else routers show of the
    seller.
    """

    version: int
    document: str
    settings: Settings
    seller: Mapping[str, str]

    def view(self) -> dict[str, Any]:
        """What a router shows, in both languages; amounts in minor units."""
        settings = self.settings
        return {
            "version": self.version,
            "seller": dict(self.seller),
            "features": {
                name: {"title": held.titles._asdict(), "description": held.descriptions._asdict()}
                for name, held in settings.features.items()
            },
            "plans": {name: _sold(settings, name) for name in settings.plans},
            "products": {name: _sold(settings, name) for name in settings.products},
        }


def _sold(settings: Settings, name: str) -> dict[str, Any]:
    held = settings.sellable(name)
    assert held is not None
    return {
        "title": held.titles._asdict(),
        "description": held.descriptions._asdict(),
        "features": list(held.features),
        "prices": [
            {
                "id": price.alias,
                "amount": price.amount,
                "currency": price.currency,
                "interval": price.interval,
                "trial_days": price.trial_days,
            }
            for price in settings.prices_of(name)
        ],
    }


def parse(document: str, prices: Mapping[str, str] | None = None, *, version: int = 0) -> Catalog:
    """Read a file; `prices`: Stripe's ids by alias. Raises CatalogError."""
    try:
        content = tomllib.loads(document)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError([f"not a TOML file: {error}"]) from error
    problems = [f"unknown table [{name}]" for name in content if name not in ("seller", "options", *_KINDS)]
    options = content.get("options", {})
    problems += [f"options: {name} is not an option of the hub" for name in options if name not in _OPTIONS]
    sections: dict[str, dict[str, object]] = {"main": {".type": "payments", **_texts(options)}}
    for table, kind in _KINDS.items():
        for name, row in content.get(table, {}).items():
            if not isinstance(row, Mapping):
                problems.append(f"{table}.{name}: must be a table")
                continue
            if name in sections:
                problems.append(f"{name}: the name is used twice")
            options_of = {_RENAMED.get(option, option): value for option, value in _texts(row).items()}
            sections[name] = {".type": kind, **options_of}
    for alias, price_id in (prices or {}).items():
        if alias in sections:
            sections[alias]["price_id"] = price_id
    settings = settings_from_uci(sections)
    problems += [f"{one.section} {one.option}: {one.text}".replace(" :", ":") for one in settings.problems]
    if problems:
        raise CatalogError(problems)
    seller = {name: str(value) for name, value in content.get("seller", {}).items()}
    return Catalog(version, document, settings, seller)


def _texts(row: Mapping[str, Any]) -> dict[str, object]:
    """Values as UCI has them: strings and lists of strings."""

    def text(value: object) -> object:
        if isinstance(value, bool):
            return "1" if value else "0"
        return [str(inner) for inner in value] if isinstance(value, list) else str(value)

    return {name: text(value) for name, value in row.items()}


class Catalogs:
    """The catalog in force, read again when another version was applied."""

    def __init__(self, database: Database, hub_url: str) -> None:
        self._database = database
        self._hub_url = hub_url
        self._held: Catalog | None = None

    async def current(self, version: int | None = None) -> Catalog:
        """`version`: that of the catalog in force, where it was read just now. Raises HubError ``no_catalog``
        before the first one was applied.
        """
        if version is not None and self._held is not None and self._held.version == version:
            return self._held
        async with self._database.requests.connection() as connection:
            newest = await _first(connection, "SELECT max(version) FROM catalogs")
            if newest is None or newest[0] is None:
                raise HubError("no_catalog", retry_after=60)
            if self._held is None or self._held.version != newest[0]:
                row = await _first(
                    connection, "SELECT document, prices FROM catalogs WHERE version = %s", newest[0]
                )
                assert row is not None
                catalog = parse(row[0], row[1], version=newest[0])
                settings = replace(catalog.settings, public_url=self._hub_url)
                self._held = replace(catalog, settings=settings)
        return self._held

    def settings(self) -> Settings:
        """The settings that `current` returned last."""
        return self._held.settings if self._held is not None else Settings.DEFAULTS

    async def apply(self, document: str, prices: Mapping[str, str]) -> int:
        """Put a catalog in force; its version."""
        parse(document, prices)
        async with self._database.requests.connection() as connection:
            row = await _first(
                connection,
                "INSERT INTO catalogs (document, prices) VALUES (%s, %s) RETURNING version",
                document,
                json.dumps(dict(prices)),
            )
            assert row is not None
            return int(row[0])


async def _first(connection: Async, query: str, *values: object) -> tuple[Any, ...] | None:
    return await (await connection.execute(query, values)).fetchone()
