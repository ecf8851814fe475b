"""`payments-hub doctor`: what is wrong with an installation, in words, with a remedy for each finding."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import requests
from psycopg_pool import PoolTimeout

from payments_hub.catalog import Catalog
from payments_hub.config import Config
from payments_hub.database import Database, schema_revisions
from payments_hub.errors import HubError
from payments_hub.hub import Hub
from payments_hub.statements import Signer
from payments_hub.texts import Text, _
from payments_hub.webhook_endpoint import WEBHOOK_PATH, endpoint_at, misconfigurations, read_known
from stripe_payments.billing.prices import differences, is_active
from stripe_payments.diagnostics.finding import Finding, from_error
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import joined
from stripe_payments.setup.catalog_at_stripe import describe, read_prices
from stripe_payments.setup.webhook_endpoint import is_local, read_endpoints
from stripe_payments.stripe_api import PERMISSIONS, Permission

__all__ = ["examine"]

_OLDEST_POSTGRESQL: Final = 150_000
_SKEW_S: Final = 30
_LAG_S: Final = 300
_CONNECT_S: Final = 5
_REACH_S: Final = 10.0
_SECRETS: Final = ("DATABASE_URL_FILE", "STRIPE_SECRET_KEY_FILE", "STRIPE_WEBHOOK_SECRET_FILE")

_MIGRATE: Final = _("Run: payments-hub migrate")
_ENSURE: Final = _("Run: payments-hub webhook ensure")
_APPLY: Final = _("Run: payments-hub catalog apply FILE")


async def examine(config: Config, environ: Mapping[str, str]) -> list[tuple[str, Finding]]:
    """All checks by name, in order. One that fails does not keep the others from being made."""
    found = [("signing_key", _signing_key(config)), ("secret_files", _secret_files(environ))]
    if found[0][1].severity == "error":
        found.append(("others", Finding("info", _("Not checked: the signing key comes first."))))
        return found
    database = await _caught(lambda: _database(config))
    found.append(("database", database))
    if database.severity == "error":
        found.append(("others", Finding("info", _("Not checked: the database comes first."))))
        return found
    async with Hub.open(config) as hub:
        checks: list[tuple[str, Callable[[], Awaitable[Finding]]]] = [
            ("migrations", lambda: _migrations(config)),
            ("stripe_key", lambda: _stripe_key(hub)),
            ("key_permissions", lambda: _permissions(hub)),
            ("clock", lambda: _clock(hub)),
            ("catalog", lambda: _catalog(hub)),
            ("webhook", lambda: _webhook(hub)),
            ("worker", lambda: _worker(hub.database)),
            ("hub_url", lambda: _hub_url(config)),
        ]
        found += [(name, await _caught(check)) for name, check in checks]
    return found


async def _caught(check: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await check()
    except PaymentError as error:
        return from_error(error)
    except HubError as error:
        return Finding("error", error.entry.message, error.entry.hint)
    except (psycopg.Error, PoolTimeout) as error:
        return Finding(
            "error",
            _("The database failed: {reason}", reason=str(error).strip().partition("\n")[0]),
            _("Check DATABASE_URL, and that PostgreSQL runs; then run: payments-hub migrate"),
        )


async def _database(config: Config) -> Finding:
    async with await psycopg.AsyncConnection.connect(
        config.database_url, connect_timeout=_CONNECT_S
    ) as connection:
        cursor = await connection.execute(
            "SELECT current_setting('server_version_num')::int, rolsuper OR rolbypassrls, rolname"
            " FROM pg_roles WHERE rolname = current_user"
        )
        row = await cursor.fetchone()
    assert row is not None, "the current user is a role"
    version, exempt, role = row
    if version < _OLDEST_POSTGRESQL:
        return Finding(
            "error",
            _("PostgreSQL {version} is too old.", version=version // 10_000),
            _("Install PostgreSQL 15 or newer."),
        )
    if exempt:
        return Finding(
            "error",
            _("The role {role} is exempt from row-level security.", role=role),
            _("Use a role that is no superuser: ALTER ROLE {role} NOSUPERUSER NOBYPASSRLS", role=role),
        )
    return Finding("ok", _("PostgreSQL {version}, role {role}.", version=version // 10_000, role=role))


async def _migrations(config: Config) -> Finding:
    here, newest = await asyncio.to_thread(schema_revisions, config.database_url)
    if here == newest:
        return Finding("ok", _("The schema is of this version: {revision}.", revision=newest))
    if here is not None and here > newest:
        return Finding(
            "warning",
            _("The schema is newer than this program: {here} instead of {newest}.", here=here, newest=newest),
            _("Upgrade this machine as well."),
        )
    return Finding(
        "error",
        _(
            "The schema is older than this program: {here} instead of {newest}.",
            here=here or "-",
            newest=newest,
        ),
        _MIGRATE,
    )


async def _stripe_key(hub: Hub) -> Finding:
    await hub.stripe.list("product", {"limit": 1, "expand": []})
    if hub.mode == "test":
        return Finding("info", _("Stripe accepts the key. Test mode: no payment is real."))
    return Finding("ok", _("Stripe accepts the key. Live mode: payments are real."))


async def _permissions(hub: Hub) -> Finding:
    """Only the permission to read can be tested without changing anything at Stripe."""
    if not hub.config.stripe_secret_key.startswith("rk_"):
        return Finding(
            "warning",
            _("The key opens the whole Stripe account."),
            _("Use a restricted key (rk_…), and limit it to the hub's addresses in the Stripe Dashboard."),
        )

    async def refused(permission: Permission) -> bool:
        try:
            await hub.stripe.list(permission.kind, {"limit": 1, "expand": []})
        except PaymentError as error:
            if error.code != "stripe_key_permission":
                raise
            return True
        return False

    missing = [one for one in PERMISSIONS if await refused(one)]
    if not missing:
        return Finding("ok", _("The restricted key may read all that is needed."))
    names = ", ".join(f"{one.resource}: {one.access.capitalize()}" for one in missing)
    return Finding(
        "warning" if all(one.setup_only for one in missing) else "error",
        _("The restricted key lacks permissions: {names}.", names=names),
        _(
            "Edit the restricted key in the Stripe Dashboard (Developers > API keys) and allow: {names}",
            names=names,
        ),
    )


async def _clock(hub: Hub) -> Finding:
    skew = hub.clock.skew
    if skew is None:
        return Finding("info", _("Not checked: Stripe has not answered."))
    if abs(skew) > _SKEW_S:
        return Finding(
            "error",
            _("The clock of this machine is {seconds} s away from Stripe's.", seconds=round(abs(skew))),
            _("Synchronise it: timedatectl set-ntp true"),
        )
    return Finding("ok", _("The clock agrees with Stripe's."))


async def _catalog(hub: Hub) -> Finding:
    try:
        catalog: Catalog = await hub.catalogs.current()
    except HubError:
        return Finding("error", _("No catalog is in force: nothing can be bought."), _APPLY)
    problems: list[Text] = []
    for alias, price in (await read_prices(hub.stripe, catalog.settings)).items():
        chosen = price.chosen
        if chosen is None:
            problems.append(_("“{alias}” does not exist in Stripe", alias=alias))
        elif wrong := differences(price.wanted, chosen):
            changes = joined(describe(one, str(chosen.get("currency") or "")) for one in wrong)
            problems.append(Text("“{alias}”: {changes}", (("alias", alias), ("changes", changes))))
        elif not is_active(chosen):
            problems.append(_("“{alias}” is archived in Stripe", alias=alias))
    if problems:
        what = joined(problems)
        return Finding(
            "error",
            _(
                "Version {version} of the catalog differs from Stripe: {what}.",
                version=catalog.version,
                what=what,
            ),
            _("Unarchive what is archived in the Stripe Dashboard; for the rest: {apply}", apply=_APPLY),
        )
    return Finding("ok", _("Version {version} of the catalog matches Stripe.", version=catalog.version))


async def _webhook(hub: Hub) -> Finding:
    url = f"{hub.config.hub_url}{WEBHOOK_PATH}"
    known = await read_known(hub.database)
    endpoint = endpoint_at(await read_endpoints(hub.stripe), url, known)
    if endpoint is None:
        return Finding("error", _("Stripe has no webhook endpoint for {url}.", url=url), _ENSURE)
    version = await hub.stripe.api_version()
    if wrong := misconfigurations(endpoint, version, known, hub.config.webhook_secret):
        return Finding(
            "error",
            _("The endpoint {url} is misconfigured: {problems}.", url=url, problems=joined(wrong)),
            _ENSURE,
        )
    if known.get("id") != endpoint.get("id"):
        return Finding(
            "info",
            _("Stripe sends events to {url}. Whether the secret is its own is not known here.", url=url),
        )
    return Finding("ok", _("Stripe sends events to {url}.", url=url))


async def _worker(database: Database) -> Finding:
    async with database.requests.connection() as connection:
        cursor = await connection.execute(
            "SELECT extract(epoch FROM now() - min(received_at)), count(*),"
            " (SELECT value FROM cursors WHERE name = 'events') FROM inbox WHERE outcome IS NULL"
        )
        row = await cursor.fetchone()
    assert row is not None, "an aggregate has a row"
    age, waiting, swept = row
    run = _("Start a worker: payments-hub work; its log says what fails.")
    if age is not None and age > _LAG_S:
        return Finding(
            "error",
            _("{count} events wait, the oldest for {minutes} min.", count=waiting, minutes=int(age / 60)),
            run,
        )
    if swept is None or time.time() - float(swept) > _LAG_S:
        return Finding("warning", _("No worker has looked for lost events in the last minutes."), run)
    return Finding("ok", _("A worker runs; {count} events wait.", count=waiting))


def _signing_key(config: Config) -> Finding:
    path = config.signing_key_file
    try:
        shown = len(Signer.load(path, config.hub_url).jwks()["keys"])
        mode = stat.S_IMODE(path.stat().st_mode)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Finding(
            "error",
            _("The signing keys in {path} cannot be read: {reason}.", path=path, reason=_reason(error)),
            _("Check HUB_SIGNING_KEY_FILE; “payments-hub keys rotate” creates the file."),
        )
    if mode & 0o077:
        return Finding(
            "error",
            _("Others can read the signing keys in {path}.", path=path),
            _("Run: chmod 600 {path}; then, if somebody may have: payments-hub keys rotate", path=path),
        )
    return Finding("ok", _("{count} signing keys in {path}.", count=shown, path=path))


def _secret_files(environ: Mapping[str, str]) -> Finding:
    """A file that everybody on the machine reads is no secret."""
    files = [environ[name] for name in _SECRETS if environ.get(name)]
    readable = [path for path in files if Path(path).stat().st_mode & 0o007]
    if readable:
        return Finding(
            "error",
            _("Everybody on this machine can read {paths}.", paths=", ".join(readable)),
            _("Run: chmod 600 {paths}", paths=" ".join(readable)),
        )
    return Finding("ok", _("Files with secrets are readable by their owner alone."))


async def _hub_url(config: Config) -> Finding:
    url = f"{config.hub_url}/healthz"

    def get() -> requests.Response:
        return requests.get(url, timeout=_REACH_S, allow_redirects=False)

    try:
        reply = await asyncio.to_thread(get)
    except requests.RequestException as error:
        return Finding(
            "error",
            _("{url} cannot be reached from here: {reason}.", url=url, reason=_reason(error)),
            _("Check its name in DNS, the reverse proxy, its certificate, and that “serve” runs."),
        )
    if reply.status_code != 200 or "ok" not in reply.text:
        return Finding(
            "error",
            _("{url} answers {status}: that is not the hub.", url=url, status=reply.status_code),
            _("The reverse proxy must pass all paths on to “serve”."),
        )
    parts = urlsplit(config.hub_url)
    if parts.scheme == "http" and not is_local(parts.hostname or ""):
        return Finding(
            "error",
            _("HUB_URL is not encrypted: routers would send their credentials in the clear."),
            _("Set it to the https address of the reverse proxy."),
        )
    return Finding("ok", _("{url} answers.", url=config.hub_url))


def _reason(error: Any) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
