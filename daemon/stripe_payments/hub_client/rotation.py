"""The credential is exchanged for a new one every 90 days, and whenever the hub requests it.

The new secret is durable before the hub is asked, and both are kept until the hub has accepted a request with
the new one. The first such request retires the old one at the hub, and a retired one counts as a copy of this
router's. So where an exchange may have come that far (its answer was lost, or the power), the new secret is
tried first, and no request with the old one is under way while it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log

if TYPE_CHECKING:
    from stripe_payments.hub_client.credential import Credential, CredentialStore

__all__ = ["ROTATE_AFTER_S", "Rotation"]

_log = Log("hub")

ROTATE_AFTER_S: Final = 90 * 86_400


class Rotation:
    """`held`: the credential, None before it is loaded. `announce` sends the new secret under the old one,
    `probe` makes a request with the new one; both raise PaymentError. `requested`: the hub's last answer
    requested an exchange.
    """

    def __init__(
        self,
        store: CredentialStore,
        url: str,
        announce: Callable[[str, str], Awaitable[object]],
        probe: Callable[[str], Awaitable[object]],
    ) -> None:
        self._store = store
        self._url = url
        self._announce = announce
        self._probe = probe
        self._exchanging = asyncio.Lock()
        self._in_use = 0
        self._may_be_used = False
        """Whether the hub may have accepted a request with the new secret."""
        self.held: Credential | None = None
        self.requested = False

    async def load(self) -> None:
        """Raises PaymentError where the storage fails."""
        self.held = await asyncio.to_thread(self._store.load, self._url)
        self._may_be_used = self.held.rotating is not None

    def enrolled(self, credential: Credential) -> None:
        """This router has enrolled, perhaps as another one."""
        self.held = credential
        self._may_be_used = credential.rotating is not None

    @asynccontextmanager
    async def secret(self) -> AsyncIterator[str]:
        """The secret for one request of an enrolled router. Raises PaymentError where that is not known."""
        async with self._exchanging:
            if self._may_be_used:
                await self._try_the_new_one()
            assert self.held is not None
            secret = self.held.secret
            self._in_use += 1
        try:
            yield secret
        finally:
            self._in_use -= 1

    async def rotate_if_due(self, now: int | None) -> bool:
        """`now`: trusted epoch seconds. An exchange that is not completed is continued at the next call;
        False if it waits for other requests to end. Raises PaymentError.
        """
        held = self.held
        if held is None or held.router_id is None or now is None:
            return True
        if held.rotating is None and not self.requested:
            if held.since is None:
                await self._keep(replace(held, since=now))
                return True
            if now - held.since < ROTATE_AFTER_S:
                return True
        async with self._exchanging:
            if self._in_use:
                return False
            held = self.held = await asyncio.to_thread(self._store.with_rotating, self._url, held)
            assert held.rotating is not None
            if not self._may_be_used:
                await self._announce(held.secret, held.rotating)
                self._may_be_used = True
            await self._try_the_new_one(now)
        return True

    async def _try_the_new_one(self, now: int | None = None) -> None:
        held = self.held
        assert held is not None
        assert held.rotating is not None
        try:
            await self._probe(held.rotating)
        except PaymentError as error:
            if error.code != "credential_refused":
                raise
            self._may_be_used = False  # the hub never got it: the old one is the router's
            return
        self._may_be_used = self.requested = False
        _log.info("the credential was exchanged")
        await self._keep(replace(held, secret=held.rotating, rotating=None, since=now))

    async def _keep(self, credential: Credential) -> None:
        """In memory at once: the hub does not accept the old one any more."""
        self.held = credential
        await asyncio.to_thread(self._store.keep, self._url, credential)
