"""What can be wrong around a daemon: the shape of every disturbance, and those of the router itself."""

from typing import ClassVar

from campaigns.faults.router_under_test import RouterUnderTest
from ubus_py import Encodable

__all__ = ["ROUTER_DISTURBANCES", "Disturbance"]


class Disturbance:
    """Begins before a step of a scenario, and ends while that step, or what follows from it, is under way.
    Each case has a copy of its own.

    `hold_s`: how long it lasts; `events_may_be_missed`: it cuts the listeners' connection too;
    `answers_may_be_lost`: a script has run, and who asked for it does not hear so; `damages`: a file of the
    daemon's is damaged by it, and may be set aside; `wants_history`: the ledger has to be larger than what
    SQLite keeps of it in memory.
    """

    name: str
    hold_s: float = 1.0
    events_may_be_missed: ClassVar[bool] = False
    answers_may_be_lost: ClassVar[bool] = False
    damages: ClassVar[bool] = False
    wants_history: ClassVar[bool] = False

    async def before(self, router: RouterUnderTest) -> dict[str, str]:
        """When all is there but the daemon; returns what its environment has besides."""
        del router
        return {}

    async def begin(self, router: RouterUnderTest) -> None:
        raise NotImplementedError

    async def end(self, router: RouterUnderTest) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        """After the case."""


class BusAway(Disturbance):
    """ubusd ends, and with it every connection; a second later procd has started it again."""

    name = "ubusd away"
    events_may_be_missed = True
    answers_may_be_lost = True

    async def begin(self, router: RouterUnderTest) -> None:
        await router.world.broker.stop()

    async def end(self, router: RouterUnderTest) -> None:
        await router.world.broker.start()


class RpcdAway(Disturbance):
    """rpcd and procd's objects are gone: no UCI, no sessions, no hotplug scripts."""

    name = "rpcd away"
    answers_may_be_lost = True

    async def begin(self, router: RouterUnderTest) -> None:
        await router.world.router.stop()

    async def end(self, router: RouterUnderTest) -> None:
        await router.world.router.start()


class ApplyPending(Disturbance):
    """A LuCI user has applied a change of our own settings, and it waits for its confirmation."""

    hold_s = 1.5

    def __init__(self, *, confirmed: bool) -> None:
        self.name = "apply pending, " + ("confirmed" if confirmed else "rolled back")
        self._confirmed = confirmed
        self._login: dict[str, Encodable] = {}

    async def begin(self, router: RouterUnderTest) -> None:
        bus = router.world.bus
        login = await bus.call("session", "login", {"username": "root", "password": "router"})
        self._login = {"ubus_rpc_session": str(login["ubus_rpc_session"])}
        change: dict[str, Encodable] = {
            "config": "stripe-payments",
            "section": "main",
            "values": {"locale": "it"},
        }
        await bus.call("uci", "set", {**change, **self._login})
        await bus.call("uci", "apply", {"rollback": True, "timeout": 1 + 30 * self._confirmed, **self._login})

    async def end(self, router: RouterUnderTest) -> None:
        if self._confirmed:
            await router.world.bus.call("uci", "confirm", self._login)


ROUTER_DISTURBANCES = (BusAway(), RpcdAway(), ApplyPending(confirmed=True), ApplyPending(confirmed=False))
