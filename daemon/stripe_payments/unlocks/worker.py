"""The worker that tells the rest of the system what the ledger decided, in order and at least once.

A feature that changed is told in three steps: UCI `stripe-features` (what every other package asks), the
hotplug scripts (when it was unlocked or locked), the ubus event. UCI is written where it differs; the steps
after that are each noted in the ledger before the next, so that a crash repeats one at most. Payments and
subscriptions are an event alone. Of a batch only the last note is synced: a power cut may repeat what it had
just told, and a purchase does not cost the flash a page a step.

procd runs the scripts after it has answered, and tells nobody when they have ended. So what they were run
for is kept a minute longer, and at the first start after a reboot they are run for it once more: the power
may have gone while they ran.

rpcd away, a LuCI "apply" waiting for its confirmation (90 s of "permission denied"), ubusd restarting, a full
storage: all of these end by themselves, or by somebody's hand, so the worker keeps trying, without wearing
the flash. What was told and could not be noted is remembered, and not told again; a stop in good order waits
for what is just being told.
"""

import asyncio
import random
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from stripe_payments.entitlements import MANUAL, Entitlement, ManualGrant
from stripe_payments.errors import PaymentError
from stripe_payments.ledger import Effect, Ledger, Transaction
from stripe_payments.ledger.database import LOG_LEFT_OVER, META_HELD, META_REBUILDING
from stripe_payments.ledger.outbox import TOLD
from stripe_payments.log import Log
from stripe_payments.unlocks.uci_features import as_option_values, differing, from_sections, storable
from ubus_py import Encodable, Status, StatusError, Table, UbusError, UsageError, Value

__all__ = ["Bus", "Unlocks"]

_log = Log("unlocks")

_HELPER: Final = "stripe-payments.uci"
_HOTPLUG: Final = "hotplug.stripe-payments"
_SCRIPTS_RUN: Final = 2
"""The `step` of an effect whose scripts were run. (1 was noted by a version that noted more.)"""
_SCRIPTS_TAKE_S: Final = 60.0
"""After so long the scripts have ended, or have at least left their mark."""
_BOOTED: Final = "unlocks-booted"
_TIMEOUT_S: Final = 30.0
_BATCH: Final = 64
_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 10.0
_LEAVING_S: Final = 0.5
"""How long a stop waits for what is just being told; the whole stop has two seconds."""
_HOTPLUG_ATTEMPTS: Final = 8
"""procd publishes the object only where /etc/hotplug.d/stripe-payments exists: without it nobody wants to be
told.
"""


class Bus(Protocol):
    """What the worker needs of the bus; `ubus_py.Client` has it."""

    async def call(
        self,
        object: str,  # noqa: A002
        method: str,
        args: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Table:
        """Call a method."""
        ...

    async def send(self, name: str, data: Mapping[str, Encodable] | None = None) -> None:
        """Send an event."""
        ...


class Unlocks:
    """`run` works until it is cancelled; `kick` after a commit that queued something, or when the bus is
    back.

    `runtime`: a directory that a reboot empties (on a router /var/run is in memory). Without one a reboot is
    not noticed.
    """

    def __init__(self, ledger: Ledger, bus: Bus, runtime: Path | None = None) -> None:
        self._ledger = ledger
        self._bus = bus
        self._runtime = runtime
        self._forget_at: float | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._begun = False
        self._told: dict[int, int] = {}  # up to which step, of those whose note has not been written yet
        self._in_uci: dict[str, dict[str, Value]] = {}
        self._hotplug_failures = 0
        self.trouble: str | None = None
        """What the last attempt to tell the router failed at; None while that works."""

    def kick(self) -> None:
        """Look at the outbox now, whatever the delay after a failure."""
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Wait until UCI agrees with the ledger and the outbox is empty (but for what can never be told)."""
        await self._idle.wait()

    async def adopt(self) -> None:
        """For a ledger that is new, or may lack its last changes, before the first entitlements: take over
        what UCI says is unlocked.

        After a lost or damaged ledger this is all that the router knows, so it is what `entitlements` has as
        `previous` until Stripe has been asked; an administrator's grants are kept for good. Does nothing for
        a ledger that was filled from Stripe once, or a new one that has features already: one that a power
        cut left between its beginning and this is still a new one. Tries until rpcd answers.
        """
        if not await self._ledger.read(_may_know_less_than_uci):
            return
        delay = _FIRST_DELAY_S
        while True:
            try:
                sections = await self._load()
                break
            except UbusError as error:
                _log.info("waiting for rpcd to tell the features", reason=error)
                await asyncio.sleep(_jittered(delay))
                delay = min(delay * 2, _LONGEST_DELAY_S)
        known = from_sections(sections)
        unlocked = {name: entitlement for name, entitlement in known.items() if entitlement.unlocked}

        def take_over(tx: Transaction) -> list[str]:
            held = tx.features.all()
            waiting = {effect.payload.get("feature") for effect in tx.outbox.pending(_BATCH)}
            missing = {
                name: entitlement
                for name, entitlement in unlocked.items()
                if name not in waiting and not (name in held and held[name].unlocked)
            }
            if not missing or not _may_know_less_than_uci(tx):
                return []
            tx.features.replace({**held, **missing})
            tx.meta.set(META_HELD, ",".join(sorted(missing)))
            for entitlement in missing.values():
                if entitlement.source == MANUAL:
                    tx.grants.put(ManualGrant(entitlement.feature, entitlement.until))
            return sorted(missing)

        if taken := await self._ledger.write(take_over):
            _log.info("the ledger took over features of UCI", features=",".join(taken))

    async def run(self) -> None:
        """Make UCI agree with the ledger, then work off the outbox whenever there is something in it."""
        delay = _FIRST_DELAY_S
        failing = False
        self._wake.set()
        while True:
            try:
                await self._wait()
                self._wake.clear()
                if not self._begun:
                    await self._begin()
                    self._begun = True
                await self._work_off()
            except (UbusError, PaymentError) as error:
                if not failing:
                    _log.warning("features cannot be told at the moment; trying on", reason=error)
                    failing = True
                self.trouble = str(error)
                await self._wait_for_kick(_jittered(delay))
                delay = min(delay * 2, _LONGEST_DELAY_S)
                self._wake.set()
                continue
            if failing:
                _log.info("features can be told again")
            failing, delay, self.trouble = False, _FIRST_DELAY_S, None
            if not self._wake.is_set():
                self._idle.set()

    async def _wait(self) -> None:
        """For a kick. Meanwhile, what was told long enough ago is forgotten."""
        while self._forget_at is not None:
            try:
                async with asyncio.timeout_at(self._forget_at):
                    await self._wake.wait()
                    return
            except TimeoutError:
                await self._ledger.write(_forget, durable=False)
                self._forget_at = None
        await self._wake.wait()

    async def _begin(self) -> None:
        booted = self._runtime / _BOOTED if self._runtime is not None else None
        rebooted = booted is not None and not booted.exists()

        def begin(tx: Transaction) -> list[str]:
            tx.outbox.unpark()
            return _run_again(tx) if rebooted else []

        if again := await self._ledger.write(begin):
            _log.info("after a reboot scripts are run once more", features=",".join(again))
        if booted is not None and rebooted:
            try:
                booted.touch()
            except OSError as error:  # then scripts may run once more at the next start too
                _log.warning("the reboot cannot be noted", path=booted, reason=error.strerror)
        self._forget_later()
        await self._agree()

    def _forget_later(self) -> None:
        self._forget_at = asyncio.get_running_loop().time() + _SCRIPTS_TAKE_S

    async def _wait_for_kick(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _agree(self) -> None:
        """UCI as the ledger has it: someone may have edited the file, or a power cut come between the two."""
        sections = await self._load()
        features = await self._ledger.read(lambda tx: tx.features.all())
        wanted = list(features.values())
        if not self._ledger.fresh:
            strangers = from_sections(sections).keys() - features.keys()
            wanted += [Entitlement(name) for name in strangers if from_sections(sections)[name].unlocked]
        wrong = differing(wanted, sections)
        self._in_uci = {held.feature: as_option_values(held) for held in wanted if held not in wrong}
        if wrong:
            _log.info("UCI is brought into line", features=",".join(sorted(e.feature for e in wrong)))
            for name in await self._store(wrong):
                _log.error("a feature cannot be written to UCI", feature=name)

    async def _work_off(self) -> None:
        while effects := await self._ledger.read(lambda tx: tx.outbox.pending(_BATCH)):
            effects = await self._store_changed(effects)
            for effect in effects:
                await _to_its_end(self._tell(effect, last=effect is effects[-1]))

    async def _store_changed(self, effects: Sequence[Effect]) -> list[Effect]:
        """The first step of all features at once: one commit of the file. Gives the effects that go on."""
        waiting = [effect for effect in effects if effect.kind == "feature" and effect.step < _SCRIPTS_RUN]
        names = {str(effect.payload.get("feature", "")) for effect in waiting}
        refused: set[str] = {name for name in names if not storable(name)}
        held = await self._ledger.read(lambda tx: tx.features.all())
        # What the ledger holds now, not what it held when the effect was queued: UCI never goes back in time.
        current = [held.get(name) or Entitlement(name) for name in sorted(names - refused)]
        refused |= await self._store(
            [held for held in current if as_option_values(held) != self._in_uci.get(held.feature)]
        )
        parked = [effect for effect in waiting if effect.payload.get("feature") in refused]

        def park(tx: Transaction) -> None:
            for effect in parked:
                tx.outbox.park(effect.id, "rpcd's helper refuses the feature")

        if parked:
            await self._ledger.write(park)
        for effect in parked:
            _log.error("a feature cannot be written to UCI", feature=effect.payload.get("feature"))
        return [effect for effect in effects if effect not in parked]

    async def _tell(self, effect: Effect, *, last: bool) -> None:
        payload, step = effect.payload, max(effect.step, self._told.get(effect.id, 0))
        if effect.kind != "feature":
            if step < TOLD:
                await self._send(f"stripe-payments.{effect.kind}", payload)
        else:
            if payload.get("flipped", True) and step < _SCRIPTS_RUN:
                await self._run_scripts(payload)
                self._told[effect.id] = _SCRIPTS_RUN
                await self._ledger.write(
                    lambda tx: tx.outbox.advance([effect.id], _SCRIPTS_RUN), durable=False
                )
            if payload.get("notable", True) and step < TOLD:
                told = {name: payload[name] for name in ("feature", "unlocked", "source", "reason")}
                await self._send("stripe-payments.feature", told)
        self._told[effect.id] = TOLD
        if effect.kind == "feature" and payload.get("flipped", True):
            await self._ledger.write(lambda tx: tx.outbox.advance([effect.id], TOLD), durable=last)
            self._forget_later()
        else:
            await self._ledger.write(lambda tx: tx.outbox.done(effect.id), durable=last)
        del self._told[effect.id]

    async def _send(self, event: str, data: Mapping[str, Value]) -> None:
        try:
            await self._bus.send(event, {name: value for name, value in data.items() if value is not None})
        except UsageError as error:  # no other attempt would do better
            _log.error("an event cannot be sent", event=event, exc=error)

    async def _run_scripts(self, payload: Mapping[str, Value]) -> None:
        feature, until = str(payload["feature"]), payload.get("until")
        values = as_option_values(
            Entitlement(
                feature,
                source=str(payload.get("source", "")),
                plan=str(payload.get("plan", "")),
                until=until if isinstance(until, int) else None,
            )
        )
        environment: list[Value] = [
            f"ACTION={'unlock' if payload['unlocked'] else 'lock'}",
            f"FEATURE={feature}",
            f"SOURCE={values['source']}",
            f"PLAN={values['plan']}",
            f"UNTIL={values['until']}",
        ]
        try:
            await self._bus.call(_HOTPLUG, "call", {"env": environment}, timeout=_TIMEOUT_S)
        except StatusError as error:
            self._hotplug_failures += 1
            if error.status is not Status.NOT_FOUND or self._hotplug_failures < _HOTPLUG_ATTEMPTS:
                raise
            _log.warning("there is no hotplug object; the scripts are not run", feature=feature)
        else:
            self._hotplug_failures = 0

    async def _load(self) -> Mapping[str, Value]:
        reply = await self._bus.call(_HELPER, "load", {}, timeout=_TIMEOUT_S)
        features = reply.get("features")
        return features if isinstance(features, dict) else {}

    async def _store(self, entitlements: Sequence[Entitlement]) -> set[str]:
        """Write the features to UCI, all in one commit; gives the names that the helper refuses for good."""
        features: dict[str, dict[str, Value]] = {
            entitlement.feature: as_option_values(entitlement)
            for entitlement in entitlements
            if storable(entitlement.feature)
        }
        if not features:
            return set()
        for name in features:  # until the answer has come nobody knows
            self._in_uci.pop(name, None)
        try:
            await self._bus.call(_HELPER, "store", {"features": features}, timeout=_TIMEOUT_S)
        except StatusError as error:
            if error.status is not Status.INVALID_ARGUMENT:
                raise
            if len(features) == 1:
                return set(features)
            # One that is refused must not keep back the others.
            refused: set[str] = set()
            for entitlement in entitlements:
                refused |= await self._store([entitlement])
            return refused
        self._in_uci.update(features)
        return set()


def _may_know_less_than_uci(tx: Transaction) -> bool:
    rebuilding = tx.meta.get(META_REBUILDING)
    return rebuilding is not None and (rebuilding == LOG_LEFT_OVER or not tx.features.all())


def _forget(tx: Transaction) -> None:
    for effect in tx.outbox.told_from(TOLD):
        tx.outbox.done(effect.id)


def _run_again(tx: Transaction) -> list[str]:
    """Those whose scripts the reboot may have interrupted wait again; of a feature only the last change."""
    last: dict[str, Effect] = {}
    for effect in tx.outbox.told_from(_SCRIPTS_RUN):
        before = last.get(feature := str(effect.payload.get("feature")))
        if before is not None:
            tx.outbox.done(before.id)
        last[feature] = effect
    tx.outbox.advance([effect.id for effect in last.values()], 0)
    return list(last)


async def _to_its_end(telling: Coroutine[object, object, None]) -> None:
    """A stop waits for it: told and not noted, it would be told once more at the next start."""
    task = asyncio.ensure_future(telling)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_LEAVING_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise


def _jittered(delay: float) -> float:
    return delay * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, hides nothing
