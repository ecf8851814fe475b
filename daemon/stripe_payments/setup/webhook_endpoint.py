"""`setup_webhook`: this router's endpoint at Stripe, with our events, the pinned version and a secret in the
key store.

Stripe shows an endpoint's secret once, in the response to its creation, and never changes its API version. So
an endpoint is kept only if the secret in the key store is known to be its own and its version is the pinned
one; otherwise it is replaced. Endpoints of other routers (metadata) are not touched.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import ipaddress
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.log import Log
from stripe_payments.rfc3339 import format_time
from stripe_payments.sync.events import EVENTS

if TYPE_CHECKING:
    from stripe_payments.identity import IdentityStore
    from stripe_payments.keys import KeyStore
    from stripe_payments.ledger import Ledger, SQLiteTransaction, Transaction
    from stripe_payments.stripe_api import StripeAPI
    from stripe_payments.stripe_api.parameters import WebhookEndpointCreateParams, WebhookEndpointUpdateParams

_log = Log("webhook_setup")

WEBHOOK_PATH: Final = "/api/payments/webhook"
META_ENDPOINT: Final = "webhook_endpoint"

WEBHOOK_EVENTS: Final = tuple(EVENTS)
"""The events that Stripe sends us. An event only says which object to fetch, so the list need not be complete
for the result to be right; it decides how soon a change is noticed.
"""

Raw = Mapping[str, Any]

_NO_URL: Final = _("it must be a URL such as https://router.example.org/api/payments/webhook")
_NOT_HTTPS: Final = _("Stripe sends live events only to https URLs")
_NOT_PUBLIC: Final = _(
    "Stripe cannot reach this address from the internet; without a webhook the router polls Stripe"
)
_FROM_ENVIRONMENT: Final = _(
    "STRIPE_WEBHOOK_SECRET in the service's environment would override the new secret"
)
_SAID: Final = {
    "created": _("Endpoint created."),
    "updated": _("Endpoint updated."),
    "unchanged": _("Endpoint is up to date."),
    "recreated": _(
        "Endpoint deleted and recreated: its secret was unknown here, or its API version differed."
    ),
}


@dataclass(frozen=True, slots=True)
class KnownEndpoint:
    """The endpoint that the stored secret belongs to; `secret` is a digest of that secret."""

    id: str
    url: str
    livemode: bool
    secret: str

    @classmethod
    def read(cls, tx: Transaction) -> KnownEndpoint | None:
        try:
            return cls(**json.loads(tx.meta.get(META_ENDPOINT) or ""))
        except (ValueError, TypeError):
            return None

    def write(self, tx: Transaction) -> None:
        tx.meta.set(META_ENDPOINT, json.dumps(asdict(self), sort_keys=True))

    def holds(self, secret: str | None) -> bool:
        """Whether `secret` is the endpoint's."""
        return secret is not None and self.secret == digest(secret)


def webhook_state(tx: SQLiteTransaction, secret: str | None) -> dict[str, str | None]:
    """Return what `status` shows of the webhook: {webhook_url, webhook_last_delivery}, null where unknown.

    The address is that of the endpoint that `secret`, the stored one, belongs to.
    """
    known, last = KnownEndpoint.read(tx), tx.inbox.latest()
    return {
        "webhook_url": known.url if known is not None and known.holds(secret) else None,
        "webhook_last_delivery": format_time(last.received_at) if last is not None else None,
    }


def digest(secret: str) -> str:
    """Compares secrets without keeping them in the ledger."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def read_endpoints(stripe: StripeAPI) -> list[dict[str, Any]]:
    """All endpoints of the account, newest first: Stripe allows sixteen per mode, which is one page."""
    return (await stripe.list("webhook_endpoint", {"limit": 100})).data


def owner(endpoint: Raw) -> str | None:
    """The router in an endpoint's metadata."""
    router_id = (endpoint.get("metadata") or {}).get("router_id")
    return router_id if isinstance(router_id, str) and router_id else None


def is_local(host: str) -> bool:
    """Whether a host cannot be reached from the internet: loopback, private, link-local, .lan, no dot."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith((".lan", ".local", ".localhost", ".home.arpa", ".internal"))


class WebhookSetup:
    def __init__(self, stripe: StripeAPI, keys: KeyStore, identity: IdentityStore, ledger: Ledger) -> None:
        self._stripe = stripe
        self._keys = keys
        self._identity = identity
        self._ledger = ledger
        self._lock = asyncio.Lock()

    async def set_up(self, url: str, *, replace: bool = False, locale: str | None = None) -> dict[str, Any]:
        """Return `{id, url, action, events[], api_version, removed[], detail}`; action: created, updated,
        unchanged, recreated; removed: the endpoints that were deleted. The secret is stored in the key store
        only.

        A URL without a path gets the default one. `replace`: take over a URL that is registered for another
        router. Raises invalid_argument for a URL that Stripe cannot or must not use, and Stripe's errors
        (`stripe_key_permission` names the permission).
        """
        async with self._lock:
            keys = self._keys.current()
            if not keys.secret_key:
                raise PaymentError("not_configured")
            if "webhook_secret" in self._keys.fixed:
                raise PaymentError("invalid_argument", argument="webhook_secret", reason=_FROM_ENVIRONMENT)
            url = self._checked(url, live=keys.mode == "live")
            version = await self._stripe.api_version()
            router_id = (await asyncio.to_thread(self._identity.load)).router_id
            known = await self._ledger.read(KnownEndpoint.read)
            ours, keep = [], None
            for endpoint in await read_endpoints(self._stripe):
                if endpoint.get("url") == url and owner(endpoint) not in (None, router_id) and not replace:
                    raise _foreign(str(owner(endpoint)))
                if endpoint.get("url") != url and owner(endpoint) != router_id:
                    continue
                ours.append(endpoint)
                if (
                    known is not None
                    and known.id == endpoint["id"]
                    and known.holds(keys.webhook_secret)
                    and endpoint.get("api_version") == version
                ):
                    keep = endpoint
            stale = [str(endpoint["id"]) for endpoint in ours if endpoint is not keep]
            if keep is not None:
                action = await self._update(keep, url, router_id)
                if known is not None and known.url != url:
                    await self._ledger.write(dataclasses.replace(known, url=url).write)
                endpoint_id = str(keep["id"])
            else:
                action = "recreated" if stale else "created"
                endpoint_id = await self._create(url, version, router_id, stale)
            for old in stale:
                await self._stripe.delete("webhook_endpoint", old)
        _log.info("webhook endpoint", id=endpoint_id, action=action, removed=",".join(stale))
        return {
            "id": endpoint_id,
            "url": url,
            "action": action,
            "events": list(WEBHOOK_EVENTS),
            "api_version": version,
            "removed": stale,
            "detail": _SAID[action].in_locale(locale),
        }

    def _checked(self, url: str, *, live: bool) -> str:
        try:
            parts = urlsplit(url.strip())
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise PaymentError("invalid_argument", argument="url", reason=_NO_URL) from None
        if (
            parts.scheme not in ("http", "https")
            or not host
            or parts.username
            or parts.fragment
            or " " in url
        ):
            raise PaymentError("invalid_argument", argument="url", reason=_NO_URL)
        # Live mode requires https; test mode accepts http. A local address can be reached only by a simulated
        # Stripe on this machine. https://docs.stripe.com/webhooks
        if parts.scheme == "http" and live:
            raise PaymentError("invalid_argument", argument="url", reason=_NOT_HTTPS)
        if is_local(host) and not is_local(urlsplit(self._stripe.base).hostname or ""):
            raise PaymentError("invalid_argument", argument="url", reason=_NOT_PUBLIC)
        if parts.path in ("", "/"):
            parts = parts._replace(path=WEBHOOK_PATH)
        return urlunsplit(parts)

    async def _update(self, endpoint: Raw, url: str, router_id: str) -> str:
        params: WebhookEndpointUpdateParams = {}
        if endpoint.get("url") != url:
            params["url"] = url
        if set(endpoint.get("enabled_events") or ()) != set(WEBHOOK_EVENTS):
            params["enabled_events"] = cast("Any", list(WEBHOOK_EVENTS))
        if endpoint.get("status") != "enabled":
            params["disabled"] = False
        if owner(endpoint) != router_id:
            params["metadata"] = {"router_id": router_id}
        if not params:
            return "unchanged"
        await self._stripe.update(
            "webhook_endpoint", str(endpoint["id"]), params, f"webhook-{uuid.uuid4().hex}"
        )
        return "updated"

    async def _create(self, url: str, version: str, router_id: str, stale: list[str]) -> str:
        """Create the new endpoint first, so that a power cut in between leaves one that works; delete the old
        ones before it only if the account has reached its limit.
        """
        params: WebhookEndpointCreateParams = {
            "url": url,
            "enabled_events": cast("Any", list(WEBHOOK_EVENTS)),
            "api_version": cast("Any", version),  # the SDK's type is a list of all versions there were
            "description": f"OpenWrt router {router_id[:8]}",
            "metadata": {"router_id": router_id},
        }
        try:
            created = await self._stripe.create("webhook_endpoint", params, f"webhook-{uuid.uuid4().hex}")
        except PaymentError as error:
            if error.code != "stripe_error" or error.details.get("transient") or not stale:
                raise
            for old in stale:
                await self._stripe.delete("webhook_endpoint", old)
            created = await self._stripe.create("webhook_endpoint", params, f"webhook-{uuid.uuid4().hex}")
        endpoint_id, secret = str(created["id"]), str(created["secret"])
        known = KnownEndpoint(endpoint_id, url, bool(created.get("livemode")), digest(secret))
        try:
            await asyncio.to_thread(lambda: self._keys.store(webhook_secret=secret))
        except PaymentError:
            # without the secret, none of its deliveries could be verified
            await self._stripe.delete("webhook_endpoint", endpoint_id)
            raise
        await self._ledger.write(known.write)
        return endpoint_id


def _foreign(router_id: str) -> PaymentError:
    short = router_id[:8]
    return PaymentError(
        "invalid_argument",
        argument="url",
        reason=_(
            "this address is registered for the router {short}…; if that was this router before a reset, use "
            "replace=true",
            short=short,
        ),
    )
