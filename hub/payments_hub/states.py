"""What a router shows: `GET /v1/state`, past the framework.

Nearly all of what a fleet sends is a poll without news. It costs one query, shared with the polls that wait
at the same moment, and an answer of a few headers.
"""

from __future__ import annotations

import re
from typing import Any, Final

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from payments_hub.accounts import Account
from payments_hub.answers import failure, header, locale_of
from payments_hub.callers import Callers
from payments_hub.catalog import Catalog
from payments_hub.hub import Hub
from payments_hub.methods import view
from payments_hub.metrics import WAITING
from payments_hub.outbox import SHOWN
from payments_hub.polls import Polls
from payments_hub.routers import Router
from stripe_payments.bus_api import api
from stripe_payments.i18n import LANGUAGES
from stripe_payments.unfinished_purchases import processing_purchases

__all__ = ["States"]

_WAIT: Final = re.compile(r"(?:^|[,;\s])wait=(\d{1,3})\b")
"""RFC 7240: seconds that the client is willing to wait."""
_LONGEST_WAIT_S: Final = 25


class States:
    """An ASGI endpoint."""

    def __init__(self, hub: Hub, callers: Callers, polls: Polls) -> None:
        self._hub = hub
        self._callers = callers
        self._polls = polls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything the router shows, or 304 if it has that; ``Prefer: wait=20`` waits for a change
        first.
        """
        try:
            wait = _WAIT.search(header(scope, b"prefer") or "")
            if wait is not None:
                scope[WAITING] = True
                body, headers = await self._answer(scope, min(int(wait[1]), _LONGEST_WAIT_S))
            else:
                with self._polls.answering():
                    body, headers = await self._answer(scope, None)
        except Exception as error:  # noqa: BLE001 - every failure has a response
            await failure(error, scope["path"], locale_of(scope))(scope, receive, send)
            return
        if body is not None:
            await JSONResponse(body, headers=headers)(scope, receive, send)
            return
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 304, "headers": raw})
        await send({"type": "http.response.body", "body": b""})

    async def _answer(self, scope: Scope, wait: int | None) -> tuple[dict[str, Any] | None, dict[str, str]]:
        """The body, None where the router has that already, and the headers. `wait`: seconds that a buyer's
        router waits for a change; None for a poll of the fleet.
        """
        router = await self._callers.router(scope)
        catalog = await self._hub.catalogs.current(router.catalog)
        known = header(scope, b"if-none-match")
        if wait is not None and known == _etag(router, catalog):
            await self._hub.changes.wait(router.account, router.version, wait)
            router = await self._callers.router(scope)
            catalog = await self._hub.catalogs.current(router.catalog)
        poll_after = self._polls.poll_after()
        etag = _etag(router, catalog)
        headers = {"ETag": etag, "Poll-After": str(poll_after), "Cache-Control": "no-store"}
        if router.rotate:
            headers["Rotate-Credential"] = "1"
        if known == etag:
            return None, headers
        async with self._hub.accounts.view(router.account, poll=wait is None) as account:
            return await self._state(router, account, catalog, poll_after), headers

    async def _state(
        self, router: Router, account: Account, catalog: Catalog, poll_after: int
    ) -> dict[str, Any]:
        features = await api["features"].handler(view(account, "en"))
        body: dict[str, Any] = {
            "router_id": router.id,
            "catalog_version": catalog.version,
            "poll_after": poll_after,
            "mode": self._hub.mode,
            "seller": dict(catalog.seller),
            "offline_days": catalog.settings.offline_days,
            "events": await account.ledger.read(lambda tx: tx.outbox.latest(SHOWN)),
            **features,
            "purchases": processing_purchases(account.reconciler.state),
        }
        for locale in LANGUAGES:
            call = view(account, locale)
            body[locale] = {
                **await api["subscriptions"].handler(call),
                **await api["transactions"].handler(call),
                "catalog": await api["catalog"].handler(call),
            }
        entitlements = account.reconciler.state.entitlements
        body["statement"] = self._hub.signer.statement(router.id, self._hub.config.hub_url, entitlements)
        return body


def _etag(router: Router, catalog: Catalog) -> str:
    """Another account (a replaced router) is another state, whatever its number."""
    return f'"{router.account[:8]}-{router.version}-{catalog.version}"'
