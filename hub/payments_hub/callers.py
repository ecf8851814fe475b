"""Which router is calling. Guessing is slowed down by address, a router's flood by router."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from payments_hub.answers import header
from payments_hub.errors import HubError
from payments_hub.routers import Router, Routers
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.rate_limit import RateLimit

__all__ = ["Callers", "address"]

_BAD_CREDENTIALS: Final = 60
_BAD_CREDENTIAL_EVERY_S: Final = 1.0
_REQUESTS: Final = 240
_REQUEST_EVERY_S: Final = 0.5
"""By router: a page that a buyer waits at sends two in a second."""
_ROUTERS_COUNTED: Final = 10_000


class Callers:
    """`seen`: the ids of routers that called, to be emptied by who records them."""

    def __init__(self, routers: Routers) -> None:
        self._routers = routers
        self.seen: set[str] = set()
        self.bad_credentials = RateLimit(burst=_BAD_CREDENTIALS, refill_s=_BAD_CREDENTIAL_EVERY_S)
        self._requests = RateLimit(burst=_REQUESTS, refill_s=_REQUEST_EVERY_S, capacity=_ROUTERS_COUNTED)

    async def router(self, scope: Scope) -> Router:
        """Raises HubError for what is no credential of an active router, PaymentError ``rate_limited``."""
        scheme, _blank, secret = (header(scope, b"authorization") or "").partition(" ")
        try:
            router = await self._routers.authenticate(secret.strip() if scheme.lower() == "bearer" else None)
        except HubError as error:
            if error.http_status == 401 and (wait := self.bad_credentials.take(address(scope))):
                raise PaymentError("rate_limited", retry_after=wait) from error
            raise
        if wait := self._requests.take(router.id):
            raise PaymentError("rate_limited", retry_after=wait)
        self.seen.add(router.id)
        return router


def address(scope: Scope) -> str:
    """Of the client, as the reverse proxy names it."""
    client = scope.get("client")
    return client[0] if client is not None else ""
