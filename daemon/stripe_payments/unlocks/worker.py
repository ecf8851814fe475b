"""Delivers the ledger's outbox to the rest of the router, in order and at least once.

A changed feature is delivered in three steps: UCI `stripe-features`, which every other package reads
(uci_writer.py); the hotplug scripts, if it was unlocked or locked; the ubus event. Payments and subscriptions
are an event alone. What was delivered of a batch is recorded in the ledger once, when the batch ends or
fails: a power cut, or a daemon that is killed, may repeat the batch that was under way, and a purchase does
not cost the flash a page per step.

procd runs the scripts after it has replied, in parallel for each call, and reports no end. So of the changes
of one feature that are waiting only the last runs the scripts, 5 s after the call before at the earliest:
scripts that take shorter see the states in their order. Their effects are kept for another minute, and at the
first start after a reboot the scripts run again: the power may have gone while they ran.

rpcd away, a LuCI "apply" that waits for its confirmation (90 s of "permission denied"), ubusd restarting, a
full storage: all of these end, so the worker retries with backoff, without wearing the flash. What was
delivered but could not be recorded is kept in memory and not delivered again; a graceful stop finishes
deliveries that are in flight.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Final

from stripe_payments.backoff import Backoff
from stripe_payments.entitlements import Entitlement
from stripe_payments.errors import PaymentError
from stripe_payments.ledger import Effect, SQLiteLedger, SQLiteTransaction
from stripe_payments.ledger.queues import DELIVERED
from stripe_payments.log import Log
from stripe_payments.unlocks.router_bus import Bus, RouterBus, storable
from stripe_payments.unlocks.uci_writer import UciWriter
from ubus_py import UbusError, Value

__all__ = ["Unlocks"]

_log = Log("unlocks")

_SCRIPTS_RUN: Final = 2
"""The `step` of an effect whose scripts were run. (1 was recorded by a version with more steps.)"""
_SCRIPTS_TAKE_S: Final = 60.0
"""After so long the scripts have ended, or have at least made their changes."""
SCRIPTS_APART_S: Final = 5.0
"""Between two calls of the scripts for one feature."""
_BOOTED: Final = "unlocks-booted"
_BATCH: Final = 64
_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 10.0
_LEAVING_S: Final = 0.5
"""How long a stop waits for a delivery in flight; the whole stop has two seconds."""


class Unlocks:
    """`run` works until it is cancelled; `wake` after a commit that queued something, or when the bus is
    back.

    `runtime`: a directory that a reboot empties (on a router /var/run is in memory). Without one a reboot is
    not noticed.
    """

    def __init__(self, ledger: SQLiteLedger, bus: Bus, runtime: Path | None = None) -> None:
        self._ledger = ledger
        self._router = RouterBus(bus)
        self._uci = UciWriter(ledger, self._router)
        self._runtime = runtime
        self._forget_at: float | None = None
        self._forget_up_to = 0
        """The newest effect, by id, whose scripts have ended at `_forget_at`."""
        self._newest_kept = 0
        self._wakeup = asyncio.Event()
        self._idle = asyncio.Event()
        self._begun = False
        self._outbox_due = True
        self._scripts_ran: dict[str, float] = {}
        """When (loop time) the scripts were run last, by feature."""
        self._scripts_due: float | None = None
        """When scripts that have to wait for those before may run."""
        self._delivered: dict[int, int] = {}
        """Steps of the effects whose delivery could not be recorded yet, by effect id."""
        self._last_error: str | None = None

    @property
    def last_error(self) -> str | None:
        """Why the last attempt to deliver failed; None while deliveries succeed."""
        return self._uci.last_error or self._last_error

    def wake(self, committed: Mapping[str, Entitlement] | None = None) -> None:
        """Process the outbox now, whatever the backoff after a failure. `committed`: every feature as of the
        last commit, where the caller has them: UCI gets them without another read of the ledger.
        """
        self._uci.wake(committed)
        self._outbox_due = True
        self._idle.clear()
        self._wakeup.set()

    def compare_uci(self, sections: Mapping[str, Value] | None) -> None:
        """Repair UCI now if it no longer agrees with the ledger: another program may have written it.
        `sections`: UCI `stripe-features` as read just now, None to have it read.
        """
        self._uci.compare(sections)

    async def drained(self) -> None:
        """Wait until UCI agrees with the ledger and the outbox is empty (but for parked effects)."""
        while not (self._idle.is_set() and self._uci.idle.is_set()):
            await self._idle.wait()
            await self._uci.idle.wait()

    async def run(self) -> None:
        """Keep UCI equal to the ledger, and process the outbox whenever there is something in it."""
        tasks = [asyncio.create_task(work) for work in (self._uci.run(), self._run_outbox())]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_outbox(self) -> None:
        backoff = Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)
        self._wakeup.set()
        while True:
            try:
                await self._wait()
                self._wakeup.clear()
                if not self._begun:
                    await self._begin()
                    self._begun = True
                if self._outbox_due:
                    self._outbox_due = False
                    await self._process_outbox()
            except (UbusError, PaymentError) as error:
                self._outbox_due = True
                if not backoff.failures:
                    _log.warning("delivery failed, retrying", reason=error)
                self._last_error = str(error)
                await self._wait_for_wakeup(backoff.next_delay())
                self._wakeup.set()
                continue
            if backoff.failures:
                _log.info("deliveries resumed")
            backoff.reset()
            self._last_error = None
            if not self._wakeup.is_set() and self._scripts_due is None:
                self._idle.set()

    # -- the outbox -------------------------------------------------------------------------------

    async def _process_outbox(self) -> None:
        while True:
            async with self._uci.exclusive():
                effects, features = await self._ledger.read(
                    lambda tx: (tx.outbox.pending(_BATCH), tx.features.all())
                )
                stored = await self._deliver_to_uci(effects, features) if effects else []
            due = self._due(stored)
            if due:
                await _finish(self._deliver(due))
            if (
                len(effects) < _BATCH or self._scripts_due is not None
            ):  # what is queued after this read comes with a wakeup
                return

    async def _deliver_to_uci(
        self, effects: Sequence[Effect], features: Mapping[str, Entitlement]
    ) -> list[Effect]:
        """The first step of all features at once, in one commit of the file; return the effects that go on.

        Writes what the ledger holds now, not what it held when the effect was queued: UCI never goes back in
        time.
        """
        changed = [effect for effect in effects if effect.kind == "feature" and effect.step < _SCRIPTS_RUN]
        names = {str(effect.payload.get("feature", "")) for effect in changed}
        refused = {name for name in names if not storable(name)}
        refused |= await self._router.store_uci(
            [features.get(name) or Entitlement(name) for name in sorted(names - refused)]
        )
        parked = [effect for effect in changed if effect.payload.get("feature") in refused]

        def park(tx: SQLiteTransaction) -> None:
            for effect in parked:
                tx.outbox.park(effect.id, "rpcd's helper refuses the feature")

        if parked:
            await self._ledger.write(park)
        for effect in parked:
            _log.error("feature cannot be written to UCI", feature=effect.payload.get("feature"))
        return [effect for effect in effects if effect not in parked]

    def _due(self, effects: Sequence[Effect]) -> list[Effect]:
        """Without those of features whose scripts ran a moment ago and have to run again."""
        now = asyncio.get_running_loop().time()
        due = {name: ran + SCRIPTS_APART_S for name, ran in self._scripts_ran.items()}
        waiting = {
            name: due[name]
            for effect in effects
            if _runs_scripts(effect)
            and self._step(effect) < _SCRIPTS_RUN
            and due.get(name := str(effect.payload.get("feature")), 0.0) > now
        }
        self._scripts_due = min(waiting.values(), default=None)
        return [
            effect
            for effect in effects
            if effect.kind != "feature" or str(effect.payload.get("feature")) not in waiting
        ]

    async def _deliver(self, effects: Sequence[Effect]) -> None:
        """The scripts of all, then the events of all, each unless it was delivered already. What was
        delivered is recorded also where a later delivery fails or a stop comes between.
        """
        try:
            # procd runs calls in parallel, so two for one feature could overtake each other: only the last
            last = {effect.payload.get("feature"): effect for effect in effects if _runs_scripts(effect)}
            scripts = [effect for effect in last.values() if self._step(effect) < _SCRIPTS_RUN]
            for effect in scripts:
                await self._router.run_scripts(effect.payload)
                self._delivered[effect.id] = _SCRIPTS_RUN
                self._ran_scripts([effect])
            self._ran_scripts(scripts)  # at one time, so that the next ones are one batch too
            for effect in effects:
                if self._step(effect) < DELIVERED and _sends_event(effect):
                    await self._router.send_event(effect.kind, effect.payload)
                self._delivered[effect.id] = DELIVERED
        finally:
            await self._record(effects)
        for effect in effects:
            self._delivered.pop(effect.id, None)

    async def _record(self, effects: Sequence[Effect]) -> None:
        """Write the steps that were delivered. Effects whose scripts may still run are kept until then."""
        delivered = [effect for effect in effects if self._step(effect) > effect.step]
        kept = [effect for effect in delivered if _runs_scripts(effect)]

        def record(tx: SQLiteTransaction) -> None:
            for step in (_SCRIPTS_RUN, DELIVERED):
                tx.outbox.advance([effect.id for effect in kept if self._step(effect) == step], step)
            for effect in delivered:
                if effect not in kept:
                    tx.outbox.done(effect.id)

        if delivered:
            await self._ledger.write(record)
        if kept:
            self._forget_later([effect.id for effect in kept])

    def _ran_scripts(self, effects: Sequence[Effect]) -> None:
        now = asyncio.get_running_loop().time()
        self._scripts_ran |= {str(effect.payload.get("feature")): now for effect in effects}

    def _step(self, effect: Effect) -> int:
        return max(effect.step, self._delivered.get(effect.id, 0))

    # -- the start --------------------------------------------------------------------------------

    async def _begin(self) -> None:
        booted = self._runtime / _BOOTED if self._runtime is not None else None
        rebooted = booted is not None and not booted.exists()

        def begin(tx: SQLiteTransaction) -> tuple[list[str], list[Effect]]:
            tx.outbox.unpark()
            repeated = _repeat_scripts(tx) if rebooted else []
            return repeated, tx.outbox.delivered_from(_SCRIPTS_RUN)

        repeated, may_run = await self._ledger.write(begin)
        self._ran_scripts(may_run)
        if repeated:
            _log.info("running scripts again after a reboot", features=",".join(repeated))
        if booted is not None and rebooted:
            try:
                booted.touch()
            except OSError as error:  # then scripts may run again at the next start too
                _log.warning("reboot cannot be recorded", path=booted, reason=error.strerror)
        if may_run:
            self._forget_later([effect.id for effect in may_run])

    # -- waiting ----------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """For a wakeup, or until scripts are due to be run. Meanwhile, and also where a wakeup is pending
        always, effects whose scripts have ended are deleted.
        """
        clock = asyncio.get_running_loop().time
        await self._forget_delivered()
        while not self._wakeup.is_set():
            forget_at, scripts_due = self._forget_at, self._scripts_due
            times = [at for at in (forget_at, scripts_due) if at is not None]
            try:
                async with asyncio.timeout_at(min(times, default=None)):
                    await self._wakeup.wait()
            except TimeoutError:
                await self._forget_delivered()
                if scripts_due is not None and clock() >= scripts_due:
                    self._outbox_due = True
                    return

    async def _wait_for_wakeup(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wakeup.wait()
        except TimeoutError:
            pass

    def _forget_later(self, kept: Sequence[int]) -> None:
        """Delete these delivered effects (ids) in a minute, or in the one after: those of a router that is
        never quiet must not accumulate.
        """
        self._newest_kept = max(self._newest_kept, *kept)
        if self._forget_at is None:
            self._forget_at = asyncio.get_running_loop().time() + _SCRIPTS_TAKE_S
            self._forget_up_to = self._newest_kept
        else:  # an older one may have waited for its scripts
            self._forget_up_to = min(self._forget_up_to, min(kept) - 1)

    async def _forget_delivered(self) -> None:
        """If it is time. The next minute begins with what was delivered since this one began."""
        if self._forget_at is None or asyncio.get_running_loop().time() < self._forget_at:
            return
        up_to = self._forget_up_to
        await self._ledger.write(lambda tx: _forget_delivered(tx, up_to), durable=False)
        newest_kept, self._newest_kept = self._newest_kept, 0  # an empty table begins again with the first id
        self._forget_at = None
        if newest_kept > up_to:
            self._forget_later([newest_kept])


def _runs_scripts(effect: Effect) -> bool:
    return effect.kind == "feature" and bool(effect.payload.get("flipped", True))


def _sends_event(effect: Effect) -> bool:
    return effect.kind != "feature" or bool(effect.payload.get("notable", True))


def _forget_delivered(tx: SQLiteTransaction, up_to: int) -> None:
    for effect in tx.outbox.delivered_from(DELIVERED):
        if effect.id <= up_to:
            tx.outbox.done(effect.id)


def _repeat_scripts(tx: SQLiteTransaction) -> list[str]:
    """Queue those again whose scripts the reboot may have interrupted; of a feature only the last change."""
    last: dict[str, Effect] = {}
    for effect in tx.outbox.delivered_from(_SCRIPTS_RUN):
        before = last.get(feature := str(effect.payload.get("feature")))
        if before is not None:
            tx.outbox.done(before.id)
        last[feature] = effect
    tx.outbox.advance([effect.id for effect in last.values()], 0)
    return list(last)


async def _finish(delivery: Coroutine[object, object, None]) -> None:
    """Finish a delivery in flight on cancellation: one that is not recorded would be repeated."""
    task = asyncio.ensure_future(delivery)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_LEAVING_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
