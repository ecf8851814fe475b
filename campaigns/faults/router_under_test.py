"""A router with a past, whose daemon stores on a faulty flash and is started again whenever it dies.

Everything around the daemon is the simulator's; the daemon is the shipped one, in a process of its own.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from campaigns.faults.flash import CUTS, Flash, Plan, Point
from simulator.daemon_process import REPOSITORY
from simulator.world import World
from stripe_payments.errors import CODES
from tests.flows.feature_observer import FeatureObserver
from ubus_py import CallTimeout, ConnectionLost, Status, StatusError

__all__ = ["DAEMON", "PATIENCE_S", "NotRightError", "RefusedError", "RouterUnderTest"]

DAEMON = REPOSITORY / "daemon"
_NOT_ON_A_ROUTER = Path(__file__).with_name("not_on_a_router")
PATIENCE_S = 200.0
"""For everything to come right: a loaded machine is slow, and what failed is tried again ever more slowly."""
ANSWER_S = 35.0
"""uhttpd and `ubus call` give up after 30 s: what takes longer is no answer."""
_DOCUMENTED = CODES.keys() - {"internal_error"}
_AWAY = frozenset({Status.NOT_FOUND, Status.CONNECTION_FAILED})
"""What the bus itself says while the daemon is not there."""


class NotRightError(Exception):
    """What must not happen, in a sentence."""


class RefusedError(Exception):
    """A call was refused: `code` is the daemon's, or the bus's own status where the daemon is away."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class RouterUnderTest:
    """Use as `async with RouterUnderTest(…) as router`.

    `past`: a folder that `pasts` made; it is copied to `folder`. `plans`: what happens to the storage of the
    first process, the second one, …; processes beyond find it sound. `webhooks`: their fate, in the words of
    the simulator. `heals_after_s`: how long a storage that fails goes on failing. `before` is called before
    the daemon is started, and returns what its environment has besides. `daemon`: where its code is.
    `patience_s`: for everything to come right. `troubles` collects what must not happen.
    """

    def __init__(
        self,
        folder: Path,
        past: Path,
        *plans: Plan,
        webhooks: str = "on",
        seed: int = 0,
        heals_after_s: float = 0.5,
        daemon: Path = DAEMON,
        patience_s: float = PATIENCE_S,
        before: "Callable[[RouterUnderTest], Awaitable[dict[str, str]]] | None" = None,
    ) -> None:
        shutil.copytree(past, folder, symlinks=True, dirs_exist_ok=True)
        self.past = past
        self.world = World(state=folder)
        self.state = self.world.root / "etc/stripe-payments"
        self.flash = Flash(self.state, folder / "flash")
        self.observer = FeatureObserver(self.world)
        self.chance = Random(seed)
        self.struck: list[Point] = []
        self.refusals: list[str] = []
        self.troubles: list[str] = []
        self.deaths = 0
        self._plans = list(plans)
        self._webhooks = webhooks
        self._heals_after_s = heals_after_s
        self.patience_s = patience_s
        self._daemon = daemon
        self._before = before
        self._runtime = folder / "run"
        self._runtime.mkdir()
        self._sound: dict[str, str] = {}
        self._death = asyncio.Event()
        self._started_again = asyncio.Event()
        self._strike: Callable[[], None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _start(self) -> None:
        world = self.world
        world.stripe.faults.configure({"webhooks": self._webhooks})
        await world.start_surroundings()
        for endpoint in world.stripe.account.newest_first("webhook_endpoint"):
            endpoint["url"] = (
                f"{world.front.url}/api/payments/webhook"  # the port is another one than in its past
            )
        self._sound = {
            **world.daemon.environment,
            "TMPDIR": str(self._runtime),
            "PYTHONPATH": f"{_NOT_ON_A_ROUTER}:{self._daemon}",
            **(await self._before(self) if self._before else {}),
        }
        await self._start_daemon()
        self._tasks = [asyncio.create_task(self._keep_alive()), asyncio.create_task(self._heal())]

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.world.stop()

    # -- its life ---------------------------------------------------------------------------------

    async def _start_daemon(self) -> None:
        plan = self._plans.pop(0) if self._plans else None
        self.world.daemon.environment = {**self._sound, **self.flash.environment(plan)}
        self._death = asyncio.Event()
        await self.world.daemon.start()

    async def _keep_alive(self) -> None:
        """As procd does; and as a router does that lost its power, with rpcd and its files."""
        while True:
            ended = await self.world.daemon.ended()
            struck = self.flash.struck
            self.deaths += 1
            if self._strike is not None:
                self._strike()
                self._strike = None
            elif struck is None or struck.hit not in CUTS or ended != -signal.SIGKILL:
                self.troubles.append(f"the daemon ended by itself with {ended}")
            else:
                self.struck.append(struck)
                if struck.hit != "kill":
                    await self._lose_the_routers_power()
            before, self._death = self._death, asyncio.Event()
            before.set()
            await self._start_daemon()
            self._started_again.set()

    async def _lose_the_routers_power(self) -> None:
        """With it goes what is in memory, and what runs. UCI may lose its last commit."""
        await self.world.router.stop()
        shutil.rmtree(self._runtime)
        self._runtime.mkdir()
        features = Path("router/etc/config/stripe-features")
        if self.chance.random() < 0.5:
            shutil.copyfile(self.past / features, self.world.root.parent / features)
        await self.world.router.start()

    async def _heal(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            struck = self.flash.struck
            if struck is not None and struck.hit not in CUTS:
                await asyncio.sleep(self._heals_after_s)
                self.flash.heal()

    async def kill_daemon(self, strike: Callable[[], None] = lambda: None) -> None:
        """Kills it, and returns when it has been started again; `strike` is called in between."""
        self._strike = strike
        self._started_again.clear()
        if (pid := self.world.daemon.pid) is not None:
            os.kill(pid, signal.SIGKILL)
        await self._started_again.wait()

    @property
    def hit(self) -> Point | None:
        """The first point at which a plan hit; None while none has."""
        return self.struck[0] if self.struck else self.flash.struck

    # -- people -----------------------------------------------------------------------------------

    async def call(self, method: str, **arguments: Any) -> Any:
        """One call on the bus. Raises `RefusedError`; an answer that must not be is one of `troubles`."""
        death = asyncio.create_task(self._death.wait())
        answer = asyncio.create_task(
            self.world.bus.call("stripe-payments", method, arguments, timeout=ANSWER_S)
        )
        try:
            # the bus does not tell a caller that its server has died
            await asyncio.wait({death, answer}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise RefusedError("died")
            return answer.result()
        except StatusError as error:
            raise RefusedError(self._code(method, error)) from None
        except ConnectionLost:
            raise RefusedError("away") from None
        except CallTimeout:
            self.troubles.append(f"{method} was not answered within {ANSWER_S:g} s")
            raise RefusedError("hang") from None
        finally:
            for task in (death, answer):
                task.cancel()
            await asyncio.gather(death, answer, return_exceptions=True)

    def _code(self, method: str, error: StatusError) -> str:
        body: Any = error.data
        code = body["error"]["code"] if isinstance(body, dict) and "error" in body else None
        if code is None and error.status in _AWAY:
            return "away"
        if code not in _DOCUMENTED:
            self.troubles.append(f"{method} was answered {code or error.status.name}")
        self.refusals.append(str(code))
        return str(code)

    async def insist(
        self, method: str, *, until: Callable[[], object] = lambda: None, **arguments: Any
    ) -> Any:
        """Retry until it works, or until `until` returns something."""
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                return await self.call(method, **arguments)
            except RefusedError as refused:
                if there := until():
                    return there
                if time.monotonic() > deadline:
                    raise NotRightError(f"{method} is refused for ever: {refused.code}") from None
            await self.pause()
            self.stop_at_trouble()

    def stop_at_trouble(self) -> None:
        """Raises `NotRightError` if something has happened that must not."""
        if self.troubles:
            raise NotRightError(self.troubles[0])

    @staticmethod
    async def pause() -> None:
        """The pause of a client before a retry."""
        await asyncio.sleep(0.2)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for what has to come by itself. Raises `NotRightError` where it does not."""
        deadline = time.monotonic() + self.patience_s
        while not condition():
            if time.monotonic() > deadline:
                raise NotRightError("what has to come by itself does not come")
            await asyncio.sleep(0.1)
            self.stop_at_trouble()

    def at_stripe(self, kind: str) -> list[dict[str, Any]]:
        """Stripe's objects of a type, the oldest first."""
        return list(self.world.stripe.account.newest_first(kind))[::-1]

    async def stripe_time_passes(self, seconds: float) -> None:
        await self.world.control("clock/advance", {"seconds": seconds})

    # -- its end ----------------------------------------------------------------------------------

    async def stop_daemon(self) -> None:
        """Graceful stop; afterwards its files can be read."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        with contextlib.suppress(ProcessLookupError):
            await self.world.daemon.stop()

    async def start_daemon_again(self) -> None:
        """After `stop_daemon`: it is not started again."""
        await self._start_daemon()
