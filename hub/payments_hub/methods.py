"""The calls of a router that buy or read: the bus methods of the same names, with the same arguments,
replies and errors (`stripe_payments.bus_api`).

Only the methods listed here can be reached. Nothing that a router sends decides what something costs: a
price is named by its alias and comes from the hub's catalog.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from payments_hub.accounts import Account, Accounts
from payments_hub.database import Database
from payments_hub.errors import HubError
from payments_hub.routers import Router
from stripe_payments.arguments import Arguments
from stripe_payments.bus_api import api
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Title, language
from stripe_payments.log import Log

__all__ = ["METHODS", "RETURN_URLS", "Methods", "Reply"]

_log = Log("methods")

METHODS: Final = (
    "create_checkout_session",
    "preview_change",
    "change_plan",
    "cancel_subscription",
    "resume_subscription",
    "portal",
    "payment_status",
    "transactions",
    "sync",
)
RETURN_URLS: Final = {
    "create_checkout_session": ("success_url", "cancel_url"),
    "portal": ("return_url",),
}
"""Only the router knows where its pages are."""
_RETURN_URL: Final = Title(
    "it must be a complete http or https address", "deve essere un indirizzo http o https completo"
)
_TIMEOUT_S: Final = 25.0
_LONGEST_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP status and a JSON body; `replayed`: of an earlier request with the same key."""

    status: int
    body: Mapping[str, Any]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class _Call:
    """What a method's function sees, as `stripe_payments.bus_method.BusCall`."""

    locale: str
    requested_locale: str | None
    parts: Account


class Methods:
    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database = database
        self._accounts = accounts
        self._running: set[asyncio.Task[Reply]] = set()

    async def call(
        self, router: Router, name: str, arguments: Mapping[str, object], locale: str, key: str | None
    ) -> Reply:
        """Run a method for a router. With an Idempotency-Key a repeated request gets the first one's reply.

        The method goes on when its caller leaves or it takes too long: half a purchase is worse than a reply
        that is not read. Raises HubError and PaymentError.
        """
        if name not in METHODS:
            raise HubError("unknown_method")
        if key is not None and not (0 < len(key) <= _LONGEST_KEY and key.isprintable()):
            raise PaymentError("invalid_argument", argument="Idempotency-Key")
        task = asyncio.ensure_future(self._run(router, name, arguments, locale, key))
        self._running.add(task)
        task.add_done_callback(self._finished)
        done, _pending = await asyncio.wait({task}, timeout=_TIMEOUT_S)
        if not done:
            raise PaymentError("timeout")
        return task.result()

    async def close(self) -> None:
        """Let running methods finish for a moment."""
        if self._running:
            await asyncio.wait(self._running, timeout=2.0)

    async def _run(
        self, router: Router, name: str, given: Mapping[str, object], locale: str, key: str | None
    ) -> Reply:
        request = hashlib.sha256(json.dumps([name, given], sort_keys=True, default=str).encode()).digest()
        async with self._accounts.open(router.account) as account:
            assert account is not None
            if key is not None and (held := await self._held(router, key, request)) is not None:
                return held
            reply = await self._reply(account, name, given, locale)
            if key is not None and reply.status < 500:
                await self._keep(router, key, request, reply)
        return reply

    async def _reply(self, account: Account, name: str, given: Mapping[str, object], locale: str) -> Reply:
        method = api[name]
        arguments = Arguments(given)
        try:
            requested = arguments.text("locale")
            for argument in RETURN_URLS.get(name, ()):
                if not arguments.text(argument, required=True).startswith(("http://", "https://")):
                    raise PaymentError("invalid_argument", argument=argument, reason=_RETURN_URL)
            call = _Call(language(requested) or locale, requested, account)
            values = {argument.name: argument.read(arguments) for argument in method.arguments}
            return Reply(200, await method.handler(call, **values))
        except PaymentError as error:
            return Reply(error.http_status, error.body(locale))

    async def _held(self, router: Router, key: str, request: bytes) -> Reply | None:
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "SELECT request, status, body FROM replies WHERE router = %s AND key = %s", (router.id, key)
            )
            row = await cursor.fetchone()
        if row is None:
            return None
        if bytes(row[0]) != request:
            raise HubError("idempotency_key_reused")
        return Reply(row[1], row[2], replayed=True)

    async def _keep(self, router: Router, key: str, request: bytes, reply: Reply) -> None:
        async with self._database.requests.connection() as connection:
            await connection.execute(
                "INSERT INTO replies (router, key, request, status, body) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (router.id, key, request, reply.status, json.dumps(dict(reply.body))),
            )

    def _finished(self, task: asyncio.Task[Reply]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, HubError | PaymentError):
            _log.error("a method failed", exc=error)


def view(account: Account, locale: str) -> _Call:
    """A call without arguments, for the methods that `state` is composed of."""
    return _Call(locale, None, account)
