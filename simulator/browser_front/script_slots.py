"""uhttpd's script slots: how many scripts run at once, who waits, and how long one may take.

Facts from uhttpd's file.c: LuCI's pages and the gateway each take a slot from the head of a request to the
end of its script, so also while the body is waited for; ``/ubus`` and static files take none. Requests that
wait are served last in, first out.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

SCRIPT_TIMEOUT: Final = 60.0
"""``script_timeout``, seconds: then the script ends, and the client gets an HTML 502."""

NO_RESPONSE: Final = "The process did not produce any response"


class ScriptSlots:
    """At most ``limit`` scripts at once: 3 (``max_requests``) on LuCI's server, 32 on the public gateway."""

    def __init__(self, limit: int = 3) -> None:
        self.limit = limit
        self.used = 0
        self._waiting: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises `TimeoutError` where the script exceeds its limit."""
        await self._take()
        try:
            async with asyncio.timeout(SCRIPT_TIMEOUT):
                yield
        finally:
            self._give_back()

    async def _take(self) -> None:
        if self.used < self.limit:
            self.used += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():  # the slot had just become this one's
                self._give_back()
            raise

    def _give_back(self) -> None:
        while self._waiting:
            turn = self._waiting.pop()
            if not turn.done():
                turn.set_result(None)  # the slot goes on to the latest
                return
        self.used -= 1
