"""What the ledger decides reaches UCI, the scripts and the listeners: in order, at least once, none lost."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from stripe_payments.entitlements import Entitlement, ManualGrant
from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from stripe_payments.ledger.opening import LOG_LEFT_OVER, META_MUST_NOT_LOCK, META_REBUILDING
from stripe_payments.unlocks import Unlocks, adopt_features, router_bus, uci_writer, worker
from tests.unit.stripe_payments.unlocks.buses import (
    Crash,
    CrashingBus,
    FillingBus,
    HangingBus,
    RecordingBus,
    SlowBus,
)
from tests.unit.stripe_payments.unlocks.conftest import PATIENCE, World, until
from ubus_py import TABLE, Call, Client, Method, Object, Status, StatusError, Table

BACKUP = Entitlement("remote_backup_daily", True, "cs_1", "router_os_premium", None, "paid")
PHONE = Entitlement("phone_support", True, "sub_1", "business", 1_700_058_600, "active")
REPORTS = Entitlement("reports", True, "cs_2", "", None, "paid")


async def test_an_unlocked_feature_is_delivered_three_times(world: World) -> None:
    await world.decide(BACKUP, PHONE)
    await world.work_off()
    assert world.unlocked() == {"remote_backup_daily", "phone_support"}
    assert world.uci()["phone_support"] == {
        "unlocked": "1",
        "source": "sub_1",
        "plan": "business",
        "until": "2023-11-15T14:30:00Z",
        "reason": "active",
    }
    assert world.uci()["remote_backup_daily"] == {
        "unlocked": "1",
        "source": "cs_1",
        "plan": "router_os_premium",
        "reason": "paid",
    }
    await until(lambda: len(world.scripts()) == 2)
    assert sorted(world.scripts()) == [  # procd runs those of two features beside each other
        "unlock phone_support sub_1 business 2023-11-15T14:30:00Z",
        "unlock remote_backup_daily cs_1 router_os_premium",
    ]
    await until(lambda: len(world.events) == 2)
    assert world.events[0] == (
        "stripe-payments.feature",
        {"feature": "phone_support", "unlocked": True, "source": "sub_1", "reason": "active"},
    )


async def test_nothing_is_delivered_twice(world: World) -> None:
    await world.decide(BACKUP)
    await world.work_off()
    file = world.root / "etc/config/stripe-features"
    written = file.stat().st_mtime_ns, file.stat().st_ino
    await world.work_off()
    await world.decide(BACKUP)
    await world.work_off()
    await world.scripts_are(["unlock remote_backup_daily cs_1 router_os_premium"])
    assert len(world.events) == 1
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == written


async def test_a_wakeup_delivers_at_once(world: World) -> None:
    async with world.working() as unlocks, asyncio.timeout(PATIENCE):
        await unlocks.drained()
        await world.decide(BACKUP)
        unlocks.wake()
        await unlocks.drained()
        assert world.unlocked() == {"remote_backup_daily"}


async def test_a_commit_reaches_uci_without_another_read_of_the_ledger(world: World) -> None:
    held, released = threading.Event(), threading.Event()

    def hold(tx: SQLiteTransaction) -> None:
        held.set()
        released.wait(PATIENCE)

    async with world.working() as unlocks, asyncio.timeout(PATIENCE):
        await unlocks.drained()
        await world.decide(BACKUP)
        holding = asyncio.ensure_future(world.ledger.write(hold))
        await asyncio.to_thread(held.wait, PATIENCE)
        try:
            unlocks.wake({BACKUP.feature: BACKUP})
            await until(lambda: world.unlocked() == {"remote_backup_daily"})
            assert world.scripts() == []
        finally:
            released.set()
        await holding
        await unlocks.drained()
    await world.scripts_are(["unlock remote_backup_daily cs_1 router_os_premium"])
    await until(lambda: len(world.events) == 1)


@pytest.mark.parametrize("hangs", ["hotplug.stripe-payments", None])
async def test_a_commit_reaches_uci_while_earlier_changes_are_delivered(
    world: World, hangs: str | None
) -> None:
    """Neither a call of the scripts that procd does not answer nor an event that does not leave delays it."""
    bus = HangingBus(world.client, hangs)
    await world.decide(BACKUP, PHONE)
    async with world.working(bus) as unlocks, asyncio.timeout(PATIENCE):
        unlocks.wake()
        await bus.hangs.wait()
        for unlocked in (True, False):
            held = replace(REPORTS, unlocked=unlocked)
            await world.decide(held)
            unlocks.wake({one.feature: one for one in (BACKUP, PHONE, held)})
            await until(lambda unlocked=unlocked: ("reports" in world.unlocked()) is unlocked)  # type: ignore[misc]
        bus.released.set()
        await unlocks.drained()
    assert world.unlocked() == {"remote_backup_daily", "phone_support"}
    await until(lambda: world.scripts()[-1:] == ["lock reports cs_2"])  # the last call agrees with UCI
    await until(lambda: [data["unlocked"] for _, data in world.events][2:] == [True, False])


async def test_a_renewal_changes_the_date_without_script_or_event(world: World) -> None:
    await world.decide(PHONE)
    await world.work_off()
    await world.decide(Entitlement("phone_support", True, "sub_1", "business", 1_702_650_600, "active"))
    await world.work_off()
    assert world.uci()["phone_support"]["until"] == "2023-12-15T14:30:00Z"
    await world.scripts_are(["unlock phone_support sub_1 business 2023-11-15T14:30:00Z"])
    assert len(world.events) == 1


async def test_unlocked_and_locked_again_before_the_delivery(world: World) -> None:
    await world.decide(BACKUP)
    await world.decide(
        Entitlement("remote_backup_daily", False, "cs_1", "router_os_premium", None, "refunded")
    )
    await world.work_off()
    assert world.unlocked() == set()
    assert world.uci()["remote_backup_daily"]["reason"] == "refunded"
    await world.scripts_are(["lock remote_backup_daily cs_1 router_os_premium"])
    await until(lambda: [data["unlocked"] for _, data in world.events] == [True, False])


SLOW_SCRIPT = """
[ "$ACTION" = lock ] || sleep 0.2
echo "$ACTION" >>"$IPKG_INSTROOT/ended"
"""
LOCKED = Entitlement("remote_backup_daily", False, "cs_1", "router_os_premium", None, "refunded")


@pytest.mark.parametrize("restarts", [False, True])
async def test_scripts_of_one_feature_do_not_overtake_each_other(
    world: World, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """procd runs the calls in parallel: a slow unlock would end after the lock that followed. Only the
    scripts wait, and of the changes meanwhile only the last runs them.
    """
    monkeypatch.setattr(worker, "SCRIPTS_APART_S", 2.0)
    (world.root / "etc/hotplug.d/stripe-payments/60-slow").write_text(SLOW_SCRIPT)
    ended = world.root / "ended"
    async with asyncio.timeout(PATIENCE):
        async with world.working() as unlocks:
            await unlocks.drained()
            await world.decide(BACKUP)
            unlocks.wake()
            await unlocks.drained()
            if not restarts:
                for held in (LOCKED, BACKUP, LOCKED):
                    await world.decide(held)
                unlocks.wake()
                await until(lambda: world.unlocked() == set())
                await unlocks.drained()
        if restarts:
            await world.decide(LOCKED)
            await world.work_off()
    await until(lambda: ended.exists() and len(ended.read_text().split()) == 2)
    assert ended.read_text().split() == ["unlock", "lock"]
    assert [line.split()[0] for line in world.scripts()] == ["unlock", "lock"]


async def test_scripts_that_had_to_wait_run_in_one_batch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch is a record in the ledger, hence pages on the flash."""
    monkeypatch.setattr(worker, "SCRIPTS_APART_S", 0.6)
    bus = RecordingBus(world.client, 0.1)
    async with asyncio.timeout(PATIENCE), world.working(bus) as unlocks:
        await world.decide(BACKUP, PHONE)
        unlocks.wake()
        await unlocks.drained()
        await world.decide(LOCKED, replace(PHONE, unlocked=False, reason="canceled"))
        unlocks.wake()
        await unlocks.drained()
    script, event = "hotplug.stripe-payments", None
    assert [what for what in bus.requests if what != "stripe-payments.uci"] == [
        *(script, script, event, event),
        *(script, script, event, event),
    ]


async def test_payments_and_subscriptions_are_events(world: World) -> None:
    def queue(tx: SQLiteTransaction) -> None:
        tx.outbox.add("payment", {"id": "pi_1", "amount": 4999, "receipt": None})
        tx.outbox.add("subscription", {"id": "sub_1", "status": "active"})

    await world.ledger.write(queue)
    await world.work_off()
    await until(lambda: len(world.events) == 2)
    assert world.events == [
        ("stripe-payments.payment", {"id": "pi_1", "amount": 4999}),
        ("stripe-payments.subscription", {"id": "sub_1", "status": "active"}),
    ]


# What can go wrong.


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_power_cut_at_any_step_loses_nothing(
    world: World, number: int, when: Literal["before", "after"]
) -> None:
    """Requests: load, store, then per feature the scripts and the event."""
    await world.decide(BACKUP, PHONE)
    task = asyncio.ensure_future(Unlocks(world.ledger, CrashingBus(world.client, number, when)).run())
    with pytest.raises(Crash):
        await task
    await world.ledger.close()
    world.ledger = await SQLiteLedger.open(world.ledger_path)
    await world.work_off()
    assert world.unlocked() == {"remote_backup_daily", "phone_support"}
    await until(lambda: {line.split()[1] for line in world.scripts()} == world.unlocked())
    await until(lambda: {data["feature"] for _, data in world.events} == world.unlocked())
    assert await world.ledger.read(lambda tx: tx.outbox.pending_count()) == 0
    # At most one step was repeated.
    assert len(world.scripts()) + len(world.events) <= 5


async def test_an_edit_that_nothing_announces_is_repaired(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`uci commit` in a shell and an editor send no event, and two parallel commits lose one."""
    monkeypatch.setattr(uci_writer, "_COMPARE_EVERY_S", 0.05)
    file = world.root / "etc/config/stripe-features"
    async with world.working() as unlocks, asyncio.timeout(PATIENCE):
        await unlocks.drained()
        await world.decide(BACKUP)
        unlocks.wake()
        await unlocks.drained()
        stored = file.read_text()
        for edited in (stored.replace("unlocked '1'", "unlocked '0'"), "", "config feature 'half", None):
            if edited is None:
                file.unlink()
            else:
                file.write_text(edited)
            await until(lambda edited=edited: file.exists() and file.read_text() != edited)  # type: ignore[misc]
            assert world.unlocked() == {"remote_backup_daily"}
    await world.scripts_are(["unlock remote_backup_daily cs_1 router_os_premium"])


# The power goes while a script runs: procd has answered, and what the script would have done is not done.


async def kept(world: World) -> list[str]:
    effects = await world.ledger.read(lambda tx: tx.outbox.delivered_from(2))
    return [str(effect.payload["feature"]) for effect in effects]


async def numbers_kept(world: World) -> set[int]:
    return {effect.id for effect in await world.ledger.read(lambda tx: tx.outbox.delivered_from(2))}


async def work_off(world: World, runtime: Path) -> None:
    async with world.working(runtime=runtime) as unlocks, asyncio.timeout(PATIENCE):
        await unlocks.drained()


async def test_after_a_reboot_scripts_run_again_for_recent_changes(world: World, tmp_path: Path) -> None:
    await work_off(world, tmp_path)
    await world.decide(BACKUP)
    await work_off(world, tmp_path)
    assert await world.ledger.read(lambda tx: tx.outbox.pending_count()) == 0
    reported = ["unlock remote_backup_daily cs_1 router_os_premium"]
    await world.scripts_are(reported)
    await work_off(world, tmp_path)  # the daemon alone was started again
    await world.scripts_are(reported)
    for number in (2, 3):
        for entry in tmp_path.iterdir():
            entry.unlink()
        await work_off(world, tmp_path)
        await world.scripts_are(reported * number)
        await work_off(world, tmp_path)
    await world.scripts_are(reported * 3)


async def test_only_the_last_change_of_a_feature_is_repeated(world: World, tmp_path: Path) -> None:
    await world.decide(BACKUP)
    await work_off(world, tmp_path)
    await world.decide(
        Entitlement("remote_backup_daily", False, "cs_1", "router_os_premium", None, "refunded")
    )
    await work_off(world, tmp_path)
    (tmp_path / "unlocks-booted").unlink()
    await work_off(world, tmp_path)
    await until(lambda: [line.split()[0] for line in world.scripts()] == ["unlock", "lock", "lock"])
    assert await kept(world) == ["remote_backup_daily"]


async def test_old_changes_are_not_repeated(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_SCRIPTS_TAKE_S", 0.05)
    async with world.working(runtime=tmp_path) as unlocks, asyncio.timeout(PATIENCE):
        await unlocks.drained()
        await world.decide(BACKUP)
        unlocks.wake()
        await unlocks.drained()
        while await kept(world):
            await asyncio.sleep(0.02)
    (tmp_path / "unlocks-booted").unlink()
    await work_off(world, tmp_path)
    await world.scripts_are(["unlock remote_backup_daily cs_1 router_os_premium"])


async def test_old_changes_are_forgotten_while_others_follow(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A router whose features change more often than scripts take to end keeps none of the first changes."""
    monkeypatch.setattr(worker, "_SCRIPTS_TAKE_S", 0.5)
    monkeypatch.setattr(worker, "SCRIPTS_APART_S", 0.0)
    async with world.working() as unlocks, asyncio.timeout(PATIENCE):
        await unlocks.drained()
        await world.decide(BACKUP)
        unlocks.wake()
        await unlocks.drained()
        first, changes = await numbers_kept(world), 0
        assert first
        while first <= await numbers_kept(world):
            changes += 1
            await world.decide(replace(BACKUP, unlocked=changes % 2 == 0))
            unlocks.wake()
            await asyncio.sleep(0.01)
        while await numbers_kept(world):  # and the last ones, without another wakeup
            await asyncio.sleep(0.02)


async def test_rpcd_may_start_later(world: World) -> None:
    await world.router.stop()
    await world.decide(BACKUP)
    async with world.working() as unlocks:
        await until(lambda: unlocks._begun is False)
        await asyncio.sleep(0.1)
        assert world.unlocked() == set()
        await world.router.start()
        async with asyncio.timeout(PATIENCE):
            await unlocks.drained()
    assert world.unlocked() == {"remote_backup_daily"}
    await world.scripts_are(["unlock remote_backup_daily cs_1 router_os_premium"])


async def test_ubusd_may_restart_during_a_delivery(world: World) -> None:
    async with world.working() as unlocks:
        async with asyncio.timeout(PATIENCE):
            await unlocks.drained()
            await world.router.stop()
            await world.broker.stop()
            await world.decide(BACKUP)
            unlocks.wake()
            await asyncio.sleep(0.1)
            await world.broker.start()
            await world.router.start()
            await unlocks.drained()
    assert world.unlocked() == {"remote_backup_daily"}


async def test_a_pending_apply_in_luci_only_delays(world: World) -> None:
    """rpcd answers "permission denied" to a commit while an "apply" waits for its confirmation."""
    await world.router.stop()
    stored: list[Table] = []
    refusals = [Status.PERMISSION_DENIED] * 3 + [Status.TIMEOUT, Status.UNKNOWN_ERROR]

    async def load(call: Call) -> Table:
        return {"settings": {}, "features": {}}

    async def store(call: Call) -> Table:
        if refusals:
            raise StatusError(refusals.pop())
        stored.append(dict(call.args))
        return {}

    await world.client.publish(
        Object("stripe-payments.uci", [Method("load", load), Method("store", store, {"features": TABLE})])
    )
    await world.client.publish(Object("hotplug.stripe-payments", [Method("call", load)]))
    other = Client(str(world.broker.socket_path))
    await other.start()
    await world.decide(BACKUP)
    async with world.working(other) as unlocks, asyncio.timeout(PATIENCE):
        await unlocks.drained()
    await other.close()
    assert refusals == []
    assert len(stored) >= 1
    assert await world.ledger.read(lambda tx: tx.outbox.pending_count()) == 0


@pytest.mark.parametrize("effect", ["feature", "payment"])
async def test_a_graceful_stop_repeats_no_delivery(
    world: World, effect: Literal["feature", "payment"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while scripts run, or an event is on its way: delivered, and not recorded yet."""
    monkeypatch.setattr(worker, "_LEAVING_S", PATIENCE)  # a loaded machine is slow
    bus = SlowBus(world.client, 0.1)
    async with world.working(bus) as unlocks, asyncio.timeout(PATIENCE):
        await unlocks.drained()
        if effect == "feature":
            await world.decide(BACKUP)
        else:
            await world.ledger.write(lambda tx: tx.outbox.add("payment", {"id": "cs_1"}))
        unlocks.wake()
        await bus.reported.wait()
    await world.work_off()
    await until(lambda: len(world.events) >= 1)
    await asyncio.sleep(0.1)
    assert len(world.events) == 1
    assert len(world.scripts()) == (effect == "feature")


async def test_a_stop_does_not_wait_for_an_unresponsive_bus(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_LEAVING_S", 0.05)
    bus = SlowBus(world.client, 1000)
    await world.decide(BACKUP)
    async with asyncio.timeout(PATIENCE):
        async with world.working(bus) as unlocks:
            unlocks.wake()
            await bus.reported.wait()
    assert await world.ledger.read(lambda tx: tx.outbox.pending_count()) == 1


@pytest.mark.parametrize("number", range(1, 7))
async def test_a_full_storage_delays_deliveries_and_repeats_none(world: World, number: int) -> None:
    """Requests: load, store, then per feature the scripts and the event. None of them is asked for again once
    there is space, since no call comes.
    """
    await world.decide(BACKUP, PHONE)
    log = world.ledger_path.with_name("ledger.db-wal")
    bus = FillingBus(world.client, number, log.stat().st_size)
    with bus.full:
        async with world.working(bus) as unlocks, asyncio.timeout(PATIENCE):
            while unlocks.last_error is None:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # time to deliver everything twice
            bus.full.close()
            await unlocks.drained()
            assert unlocks.last_error is None
    assert world.unlocked() == {"remote_backup_daily", "phone_support"}
    await until(lambda: len(world.scripts()) == 2)
    assert {line.split()[1] for line in world.scripts()} == world.unlocked()
    assert sorted(str(data["feature"]) for _, data in world.events) == sorted(world.unlocked())
    assert await world.ledger.read(lambda tx: tx.outbox.pending_count()) == 0


async def test_a_refused_feature_does_not_hold_up_the_others(world: World) -> None:
    file = world.root / "etc/config/stripe-features"
    file.write_text(file.read_text().replace("config feature 'phone_support'", "config mine 'phone_support'"))
    await world.decide(PHONE, BACKUP, Entitlement("not-a-name", True, "cs_2", "", None, "paid"))
    await world.work_off()
    assert world.unlocked() == {"remote_backup_daily"}
    await world.scripts_are(["unlock remote_backup_daily cs_1 router_os_premium"])
    assert await world.ledger.read(lambda tx: tx.outbox.pending_count()) == 2
    # Nothing is lost: repaired, it is delivered at the next start.
    file.write_text(file.read_text().replace("config mine 'phone_support'", "config feature 'phone_support'"))
    await world.work_off()
    assert world.unlocked() == {"remote_backup_daily", "phone_support"}


async def test_procd_may_be_away_for_a_moment_while_much_is_committed(world: World) -> None:
    """Each commit wakes the worker, which then tries again at once."""
    await world.router.stop_procd()
    await world.decide(BACKUP)
    async with world.working() as unlocks, asyncio.timeout(PATIENCE):
        for _ in range(20):
            unlocks.wake()
            await asyncio.sleep(0.02)
        await world.router.start_procd()
        await unlocks.drained()
    await world.scripts_are(["unlock remote_backup_daily cs_1 router_os_premium"])


async def test_without_a_script_folder_uci_and_event_are_delivered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_bus, "_HOTPLUG_MISSING_S", 0.1)
    await world.router.stop()
    folder = world.root / "etc/hotplug.d/stripe-payments"
    (folder / "50-record").unlink()
    folder.rmdir()
    await world.router.start()
    await world.decide(BACKUP)
    await world.work_off()
    assert world.unlocked() == {"remote_backup_daily"}
    await until(lambda: len(world.events) == 1)


async def test_uci_is_resynced_at_the_start(world: World) -> None:
    await world.decide(BACKUP)
    await world.work_off()
    await world.ledger.close()
    world.ledger = await SQLiteLedger.open(world.ledger_path)  # no longer a new one
    file = world.root / "etc/config/stripe-features"
    file.write_text(
        "config feature 'remote_backup_daily'\n\toption unlocked '0'\n"
        "config feature 'mine'\n\toption unlocked '1'\n"
    )
    await world.work_off()
    assert world.unlocked() == {"remote_backup_daily"}
    assert world.uci()["remote_backup_daily"]["source"] == "cs_1"
    await world.scripts_are(["unlock remote_backup_daily cs_1 router_os_premium"])  # nothing changed


async def test_the_shipped_file_is_unchanged_while_nothing_is_unlocked(world: World) -> None:
    names = list(world.uci())
    await world.decide(*(Entitlement(name) for name in names))
    file = world.root / "etc/config/stripe-features"
    before = file.read_bytes()
    await world.work_off()
    assert file.read_bytes() == before


# A ledger that was lost.

KNOWN = """
config feature 'remote_backup_daily'
	option unlocked '1'
	option source 'sub_1'
	option plan 'premium'
	option until '2023-11-15T14:30:00Z'
	option reason 'active'

config feature 'phone_support'
	option unlocked '1'
	option source 'manual'
	option reason 'granted'

config feature 'email_support'
	option unlocked '0'
	option reason 'canceled'
"""


async def test_a_new_ledger_adopts_features_of_uci(world: World) -> None:
    (world.root / "etc/config/stripe-features").write_text(KNOWN)
    await adopt_features(world.ledger, world.client)
    assert await world.ledger.read(lambda tx: tx.features.all()) == {
        "phone_support": Entitlement("phone_support", True, "manual", "", None, "granted"),
        "remote_backup_daily": Entitlement(
            "remote_backup_daily", True, "sub_1", "premium", 1_700_058_600, "active"
        ),
    }
    assert await world.ledger.read(lambda tx: tx.grants.all()) == [ManualGrant("phone_support")]
    assert await world.ledger.read(lambda tx: tx.outbox.pending_count()) == 0


async def test_a_power_cut_before_the_adoption_loses_nothing(world: World) -> None:
    (world.root / "etc/config/stripe-features").write_text(KNOWN)
    await world.ledger.close()
    world.ledger = await SQLiteLedger.open(world.ledger_path)
    assert not world.ledger.fresh
    await adopt_features(world.ledger, world.client)
    taken = await world.ledger.read(lambda tx: tx.features.all())
    assert {name for name, held in taken.items() if held.unlocked} == {"phone_support", "remote_backup_daily"}


async def test_the_adoption_does_not_override_newer_decisions(world: World) -> None:
    (world.root / "etc/config/stripe-features").write_text(KNOWN)
    await world.decide(BACKUP)
    await adopt_features(world.ledger, world.client)
    assert await world.ledger.read(lambda tx: tx.features.all()) == {"remote_backup_daily": BACKUP}


async def test_an_existing_ledger_adopts_nothing(world: World) -> None:
    await world.ledger.write(lambda tx: tx.meta.delete(META_REBUILDING))  # as after the first full poll
    (world.root / "etc/config/stripe-features").write_text(KNOWN)
    await adopt_features(world.ledger, world.client)
    assert await world.ledger.read(lambda tx: tx.features.all()) == {}


async def test_an_outdated_ledger_adopts_only_features_it_lacks(world: World) -> None:
    """It has the purchase of long ago, a refund yet to be delivered, and not what was bought last."""
    (world.root / "etc/config/stripe-features").write_text(
        KNOWN.replace("'email_support'\n\toption unlocked '0'", "'email_support'\n\toption unlocked '1'")
    )
    refunded = Entitlement("email_support", False, "cs_1", "", None, "refunded")
    for reported in (BACKUP, Entitlement("email_support", True, "cs_1", "", None, "paid")):
        await world.decide(reported)
        for effect in await world.ledger.read(lambda tx: tx.outbox.pending(9)):
            await world.ledger.write(lambda tx, number=effect.id: tx.outbox.done(number))  # type: ignore[misc]
    await world.decide(refunded)
    await world.ledger.write(lambda tx: tx.meta.set(META_REBUILDING, LOG_LEFT_OVER))
    await adopt_features(world.ledger, world.client)
    assert await world.ledger.read(lambda tx: tx.features.all()) == {
        "email_support": refunded,
        "phone_support": Entitlement("phone_support", True, "manual", "", None, "granted"),
        "remote_backup_daily": BACKUP,
    }
    assert await world.ledger.read(lambda tx: tx.meta.get(META_MUST_NOT_LOCK)) == "phone_support"
    assert await world.ledger.read(lambda tx: tx.grants.all()) == [ManualGrant("phone_support")]


async def test_the_adoption_waits_for_rpcd(world: World) -> None:
    (world.root / "etc/config/stripe-features").write_text(KNOWN)
    await world.router.stop()
    adopting = asyncio.ensure_future(adopt_features(world.ledger, world.client))
    await asyncio.sleep(0.1)
    assert not adopting.done()
    await world.router.start()
    await asyncio.wait_for(adopting, PATIENCE)
    assert len(await world.ledger.read(lambda tx: tx.features.all())) == 2
