"""The hub's one webhook endpoint at Stripe: `HUB_URL/stripe/webhook`, with our events and the pinned version.

Stripe shows an endpoint's secret once, when it is created, and never changes its API version. Which endpoint
the configured secret belongs to is therefore recorded, as a digest; where it cannot be this one's, or the
version differs, the endpoint is created again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from payments_hub.config import Config
from payments_hub.database import Database
from payments_hub.errors import VendorError
from payments_hub.texts import Text, _
from stripe_payments.setup.webhook_endpoint import WEBHOOK_EVENTS, digest, is_local, read_endpoints
from stripe_payments.stripe_api import StripeAPI

__all__ = ["WEBHOOK_PATH", "Known", "endpoint_at", "ensure_endpoint", "misconfigurations", "read_known"]

WEBHOOK_PATH: Final = "/stripe/webhook"
_CURSOR: Final = "webhook_endpoint"
"""In the table of cursors: {id, secret}, the latter a digest."""

Raw = Mapping[str, Any]
Known = Mapping[str, str]


async def read_known(database: Database) -> Known:
    """The endpoint that was created last: {id, secret}; empty without one."""
    async with database.requests.connection() as connection:
        cursor = await connection.execute("SELECT value FROM cursors WHERE name = %s", (_CURSOR,))
        row = await cursor.fetchone()
    found: dict[str, str] = json.loads(row[0]) if row is not None else {}
    return found


def endpoint_at(endpoints: Sequence[Raw], url: str, known: Known) -> Raw | None:
    """The endpoint of that address; of several, the one whose secret is known."""
    found = [one for one in endpoints if one.get("url") == url]
    return next(iter(sorted(found, key=lambda one: one.get("id") != known.get("id"))), None)


def misconfigurations(endpoint: Raw, version: str, known: Known, secret: str) -> list[Text]:
    """What is wrong with an endpoint."""
    found: list[Text] = []
    if endpoint.get("status") != "enabled":
        found.append(_("it is disabled"))
    events = set(endpoint.get("enabled_events") or ())
    if "*" not in events and (absent := sorted(set(WEBHOOK_EVENTS) - events)):
        found.append(_("missing events: {names}", names=", ".join(absent)))
    if endpoint.get("api_version") != version:
        actual = endpoint.get("api_version") or "?"
        found.append(_("API version {found} instead of {version}", found=actual, version=version))
    if not secret:
        found.append(_("STRIPE_WEBHOOK_SECRET is not set"))
    elif known.get("id") == endpoint.get("id") and known.get("secret") != digest(secret):
        found.append(_("STRIPE_WEBHOOK_SECRET is not its secret"))
    return found


async def ensure_endpoint(
    config: Config,
    database: Database,
    stripe: StripeAPI,
    keep_secret: Callable[[str], None],
    *,
    recreate: bool = False,
) -> dict[str, Any]:
    """Create or correct the endpoint: {id, url, action, events[], api_version, removed[], secret_is_known}.
    `action`: created, recreated, updated, unchanged. `keep_secret` is called with the secret of a new one; if
    it raises, the endpoint is deleted again. `secret_is_known`: whether the configured secret is known to be
    the endpoint's. Raises VendorError for an address that Stripe cannot reach, and PaymentError.
    """
    url = f"{config.hub_url}{WEBHOOK_PATH}"
    _check(url, live="_live_" in config.stripe_secret_key[:8], stripe=stripe)
    version, known = await stripe.api_version(), await read_known(database)
    endpoints = [one for one in await read_endpoints(stripe) if one.get("url") == url]
    held = endpoint_at(endpoints, url, known)
    keep = held if not recreate and _usable(held, version, known, config.webhook_secret) else None
    stale = [str(one["id"]) for one in endpoints if one is not keep]
    if keep is not None:
        endpoint_id, action = str(keep["id"]), await _update(stripe, keep)
    else:
        # the new one first: Stripe then delivers to both for a moment, and no event is lost
        endpoint_id = await _create(database, stripe, url, version, keep_secret)
        action = "recreated" if stale else "created"
    for old in stale:
        await stripe.delete("webhook_endpoint", old)
    return {
        "id": endpoint_id,
        "url": url,
        "action": action,
        "events": list(WEBHOOK_EVENTS),
        "api_version": version,
        "removed": stale,
        "secret_is_known": keep is None or known.get("id") == endpoint_id,
    }


def _usable(endpoint: Raw | None, version: str, known: Known, secret: str) -> bool:
    if endpoint is None or endpoint.get("api_version") != version or not secret:
        return False
    return known.get("id") != endpoint.get("id") or known.get("secret") == digest(secret)


def _check(url: str, *, live: bool, stripe: StripeAPI) -> None:
    parts = urlsplit(url)
    if live and parts.scheme != "https":
        raise VendorError(
            "insecure_url",
            _("Stripe sends live events only to https addresses; HUB_URL is {url}.", url=url),
            _("Set HUB_URL to the address that the reverse proxy serves with TLS."),
        )
    if is_local(parts.hostname or "") and not is_local(urlsplit(stripe.base).hostname or ""):
        raise VendorError(
            "local_url",
            _("Stripe cannot reach {url} from the internet.", url=url),
            _("Set HUB_URL to the public address of the hub."),
        )


async def _update(stripe: StripeAPI, endpoint: Raw) -> str:
    params: dict[str, Any] = {}
    if set(endpoint.get("enabled_events") or ()) != set(WEBHOOK_EVENTS):
        params["enabled_events"] = list(WEBHOOK_EVENTS)
    if endpoint.get("status") != "enabled":
        params["disabled"] = False
    if not params:
        return "unchanged"
    await stripe.update("webhook_endpoint", str(endpoint["id"]), params, _key())
    return "updated"


async def _create(
    database: Database, stripe: StripeAPI, url: str, version: str, keep_secret: Callable[[str], None]
) -> str:
    params = {
        "url": url,
        "enabled_events": list(WEBHOOK_EVENTS),
        "api_version": version,
        "description": "Payments hub",
    }
    created = await stripe.create("webhook_endpoint", params, _key())
    endpoint_id, secret = str(created["id"]), str(created["secret"])
    try:
        keep_secret(secret)
    except OSError:
        # without the secret, none of its deliveries could be verified
        await stripe.delete("webhook_endpoint", endpoint_id)
        raise
    known = json.dumps({"id": endpoint_id, "secret": digest(secret)})
    async with database.requests.connection() as connection:
        await connection.execute(
            "INSERT INTO cursors (name, value) VALUES (%s, %s)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (_CURSOR, known),
        )
    return endpoint_id


def _key() -> str:
    return f"hub-webhook-{uuid.uuid4().hex}"
