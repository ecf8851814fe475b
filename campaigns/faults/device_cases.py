"""Seeded combinations of what goes wrong on a device, while features are bought, granted and revoked.

Within `AGREES_WITHIN_S` of the end of all causes UCI agrees with the ledger and with the last call of the
hotplug scripts; what was answered with OK is stored.
"""

import asyncio
import copy
import shutil
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Final

from campaigns.faults.device_disturbances import DEVICE_DISTURBANCES, calls_to_scripts
from campaigns.faults.disturbance import BusAway, Disturbance, RpcdAway
from campaigns.faults.flash import Plan
from campaigns.faults.pasts import ONETIME, PREMIUM, Pasts
from campaigns.faults.router_under_test import NotRightError, RefusedError, RouterUnderTest
from simulator.router.uci_file import UciError, parse
from ubus_py import UbusError

__all__ = ["AGREES_WITHIN_S", "COMBINATIONS", "DEVICE", "DEVICE_IS", "run_combination"]

DEVICE: Final = "device"
DEVICE_IS: Final = (
    "two or three of: full storage, other writers, restarts, slow programs; UCI agrees 15 s after their end"
)
COMBINATIONS: Final = 200
AGREES_WITHIN_S: Final = 15.0
_PATIENCE_S: Final = 60.0
_GRANTED: Final = ("monitoring_24_7", "phone_support", "redundant_backup")
_ACTIONS: Final = 4
_ALIAS: Final = "price_base_monthly"
_STORAGE: Final = ("ENOSPC", "EROFS", "EIO")


async def run_combination(seed: int, pasts: Pasts) -> str | None:
    """Return what was wrong; None where all was right. Never raises."""
    chance = Random(seed)
    causes = _choose(chance)
    plans = [Plan(chance.choice(_STORAGE), chance.randint(1, 60))] if chance.random() < 0.25 else []
    folder = Path(tempfile.mkdtemp(prefix="combination-"))
    failure: str | None = None
    router = RouterUnderTest(
        folder / "world", await pasts.get("selling"), *plans, seed=seed, patience_s=_PATIENCE_S
    )
    try:
        async with asyncio.timeout(4 * _PATIENCE_S), router:
            await _Combination(router, chance, causes).run()
    except NotRightError as wrong:
        failure = str(wrong)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other combinations go on
        failure = f"{type(error).__name__}: {error}"
    finally:
        for cause in causes:
            await cause.close()
        names = ", ".join([cause.name for cause in causes] + [str(plan) for plan in plans])
        log = router.world.daemon.log_text()[-3000:] if failure is not None else ""
        shutil.rmtree(folder, ignore_errors=True)
    return failure and f"[{names}] {failure}\n{log}"


def _choose(chance: Random) -> list[Disturbance]:
    """Two or three; of those that take the bus or rpcd away at most one."""
    exclusive = (BusAway.name, RpcdAway.name, "procd away")
    while True:
        chosen = chance.sample(DEVICE_DISTURBANCES, chance.choice((2, 2, 3)))
        rooms = [one for one in chosen if "full" in one.name or "read-only" in one.name]
        if sum(one.name in exclusive for one in chosen) <= 1 and len(rooms) <= 1:
            return [copy.copy(one) for one in chosen]


class _Combination:
    def __init__(self, router: RouterUnderTest, chance: Random, causes: list[Disturbance]) -> None:
        self.router = router
        self.chance = chance
        self.causes = causes
        self.expected: dict[str, bool | None] = {}
        """Features by what was answered with OK; None: the call was refused, so either is right."""

    async def run(self) -> None:
        await self.router.insist("status")
        await asyncio.gather(self._act(), *(self._disturb(cause) for cause in self.causes))
        await self._agrees()
        await self.router.stop_daemon()
        if "Traceback" in (log := self.router.world.daemon.log_text()):
            raise NotRightError(f"the log has a traceback: {log[log.index('Traceback') :][:300]}")

    async def _disturb(self, cause: Disturbance) -> None:
        starts, lasts = self.chance.uniform(0, 1.0), self.chance.uniform(0.3, 2.0)
        await asyncio.sleep(starts)
        await cause.begin(self.router)
        await asyncio.sleep(lasts)
        await cause.end(self.router)

    # -- what people do ---------------------------------------------------------------------------

    async def _act(self) -> None:
        for _ in range(_ACTIONS):
            action = self.chance.choice((self._grant, self._grant, self._revoke, self._buy, self._provision))
            await action()
            await asyncio.sleep(self.chance.uniform(0, 0.6))

    async def _grant(self) -> None:
        await self._set(self.chance.choice(_GRANTED), "grant", unlocked=True)

    async def _revoke(self) -> None:
        await self._set(self.chance.choice(_GRANTED), "revoke", unlocked=False)

    async def _set(self, feature: str, method: str, *, unlocked: bool) -> None:
        self.expected[feature] = None
        try:
            await self.router.call(method, feature=feature)
        except RefusedError:
            return
        self.expected[feature] = unlocked

    async def _buy(self) -> None:
        if all(self.expected.get(name) for name in PREMIUM):
            return
        session = await self.router.insist("create_checkout_session", price_id=ONETIME)
        await self.router.world.pay(session["session_id"])
        self.expected.update(dict.fromkeys(PREMIUM, True))

    async def _provision(self) -> None:
        """With a price id that an administrator has removed."""
        file = self.router.world.root / "etc/config/stripe-payments"
        package = parse("stripe-payments", file.read_text())
        found = package.section(_ALIAS)
        if found is None or not (price_id := found.options.get("price_id")):
            return
        await self.router.insist("status")  # a daemon that is starting has no handler for the reload
        file.write_text(file.read_text().replace(f"\toption price_id '{price_id}'\n", "", 1))
        self.router.world.daemon.reload()
        try:
            answer = await self.router.call("provision")
        except RefusedError:
            return
        stored = parse("stripe-payments", file.read_text()).section(_ALIAS)
        if _ALIAS in answer["stored"] and (stored is None or stored.options.get("price_id") != price_id):
            raise NotRightError(f"provision answered that it stored {price_id}: the file has {stored}")

    # -- what has to be the case ------------------------------------------------------------------

    async def _agrees(self) -> None:
        ended = time.monotonic()
        while (wrong := await self._wrong()) is not None:
            self.router.stop_at_trouble()
            if time.monotonic() > ended + AGREES_WITHIN_S:
                raise NotRightError(f"{AGREES_WITHIN_S:g} s after the end of its causes: {wrong}")
            await asyncio.sleep(0.1)

    async def _wrong(self) -> str | None:
        try:
            bus = await self.router.observer.on_the_bus(timeout_s=5)
            uci = self.router.observer.in_uci()
        except (UbusError, UciError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        for name, expected in self.expected.items():
            if expected is not None and bus[name]["unlocked"] is not expected:
                return f"{name} was answered {expected}, and is {bus[name]}"
        if (difference := self.router.observer.disagreement(bus)) is not None:
            return difference
        calls = calls_to_scripts(self.router)
        for name, held in uci.items():
            if name in calls and (calls[name] == "unlock") is not held["unlocked"]:
                return f"the last call of the scripts says {calls[name]} of {name}, UCI {held}"
            if held["unlocked"] and name not in calls:
                return f"the scripts were not called for {name}, which is unlocked"
        return None
