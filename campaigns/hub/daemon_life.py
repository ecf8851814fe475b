"""A router as its customer has it: the shipped daemon, used over its bus; its process is killed, too."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from campaigns.hub.lives import CONVERGED_S, PREMIUM, BrokenError, Life
from simulator.router.uci_file import parse
from simulator.world import World
from ubus_py import UbusError

__all__ = ["DaemonLife"]

_PATIENCE_S: Final = 120.0
_CLICK_S: Final = 30.0


@dataclass
class DaemonLife(Life):
    """`folder`: the router's; it is there until `end`."""

    kind: str = "daemon"
    folder: Path = Path()
    _world: World | None = None
    _started: asyncio.Event = field(default_factory=asyncio.Event)

    async def live(self) -> None:
        """A purchase, clicked again until it has an answer; UCI is what other packages see of it."""
        self.hub.links["daemon-hub"].source = self.address
        self._world = World(
            state=self.folder, stripe=self.hub.cloud, hub=(self.hub.daemon_door, ""), respawn=True
        )
        await self._world.start()
        self._started.set()
        session = str((await self._click("create_checkout_session", price_id="lifetime_once"))["session_id"])
        self.sessions += 1
        self.id = str((await self._click("status"))["router_id"])
        self.hub.cloud.pay(session)
        await self.until(PREMIUM)
        await self.kill()
        features = (await self._click("features"))["features"]
        if (found := {name for name, one in features.items() if one["unlocked"]}) != PREMIUM:
            raise BrokenError(f"{sorted(found)} is unlocked after a restart and not {sorted(PREMIUM)}")

    async def unlocked(self) -> frozenset[str]:
        """In UCI."""
        assert self._world is not None
        file = self._world.root / "etc/config/stripe-features"
        sections = parse("stripe-features", file.read_text()).sections
        return frozenset(one.name for one in sections if one.options.get("unlocked") == "1" and one.name)

    async def kill(self) -> None:
        """kill -9, and the start that procd makes of it. Before it was started there is nothing to kill."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CONVERGED_S):
                await self._started.wait()
            assert self._world is not None
            await self._world.daemon.kill()
            await self._world.daemon.start()

    async def end(self) -> None:
        if self._world is not None:
            await self._world.stop()

    async def _click(self, method: str, **arguments: Any) -> dict[str, Any]:
        assert self._world is not None
        deadline = time.monotonic() + _PATIENCE_S
        why: object = ""
        while time.monotonic() < deadline:
            try:
                return await self._world.bus.call("stripe-payments", method, arguments, timeout=_CLICK_S)
            except UbusError as error:  # the daemon is away, or the hub is
                why = error
            await asyncio.sleep(self.chance.uniform(0.5, 1.5))  # each click tries to enrol as well
        raise BrokenError(f"{method}: no answer in {_PATIENCE_S:.0f} s, last {why}")
