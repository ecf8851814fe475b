"""The example package in the simulated world: it works while it is paid for, and not a moment longer."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.world import World
from tests.examples.router_with_backups import BackupServer, RouterWithBackups
from tests.flows.conftest import Buyer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A router and Stripe."""
    async with World(state=tmp_path / "world") as world:
        yield world


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[BackupServer]:
    """Where the backups go."""
    (tmp_path / "server").mkdir()
    server = BackupServer(tmp_path / "server")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def router(world: World, server: BackupServer, tmp_path: Path) -> AsyncIterator[RouterWithBackups]:
    """The package installed and set up, nothing bought."""
    router = RouterWithBackups(world, tmp_path)
    router.install()
    await router.trust(server.folder / "server.pem")
    router.aim_at(f"{server.url}/backups/")
    yield router
    router.kill()


async def _buy(world: World) -> str:
    buyer = Buyer(world)
    session = await buyer.buy()
    await buyer.everywhere(unlocked=True)
    return session


async def test_locked_it_does_nothing(router: RouterWithBackups, server: BackupServer) -> None:
    await router.init("start")
    assert router.pid() is None
    assert "not started: remote_backup_daily is locked" in router.log()
    code, log = await router.backup_now()
    assert code == 1
    assert "remote_backup_daily is locked: buy it" in log
    assert server.stored == {}


async def test_bought_it_starts_by_itself_and_refunded_it_stops(
    world: World, router: RouterWithBackups, server: BackupServer, tmp_path: Path
) -> None:
    session = await _buy(world)
    await router.until(lambda: bool(server.stored))
    (name,) = server.stored
    assert name.startswith("OpenWrt-2")
    assert name.endswith("Z.cms")
    names = await asyncio.to_thread(router.decrypted, server.stored[name], tmp_path)
    assert "etc/config/stripe-payments" in names
    assert "etc/stripe-payments/secrets.json" in names, "that is why it is encrypted"
    assert b"sk_test" not in server.stored[name]
    assert router.pid() is not None

    await world.bus.call("stripe-payments", "refund", {"payment_id": session})
    await router.until(lambda: router.pid() is None)
    code, _ = await router.backup_now()
    assert code == 1
    assert len(server.stored) == 1
    assert not (router.root / "var/run/remote-backup").exists(), "nothing readable is left in memory"


async def test_a_script_that_was_overtaken_changes_nothing(
    world: World, router: RouterWithBackups, server: BackupServer
) -> None:
    """procd runs the scripts of two changes at the same time; the later one may end first."""

    async def run_late(action: str) -> None:
        environment = [f"ACTION={action}", "FEATURE=remote_backup_daily", "SOURCE=", "PLAN=", "UNTIL="]
        await world.bus.call("hotplug.stripe-payments", "call", {"env": environment})
        await world.router.hotplug.settled()

    await run_late("unlock")
    assert router.pid() is None
    await _buy(world)
    await router.until(lambda: router.pid() is not None)
    started = router.pid()
    await run_late("lock")
    assert router.pid() == started


async def test_after_a_reboot_it_goes_on_and_keeps_to_one_a_day(
    world: World, router: RouterWithBackups, server: BackupServer
) -> None:
    await _buy(world)
    await router.until(lambda: "saved as" in router.log())
    router.kill()
    await router.until(lambda: router.pid() is None)

    await router.init("start")
    await router.until(lambda: _sleeps(router))
    assert router.log().count("saved as") == 1
    router.kill()
    await router.until(lambda: router.pid() is None)

    # A day later, and after a wrong clock had recorded a time years ahead.
    for recorded in (int(time.time()) - 86_400, int(time.time()) + 10 * 86_400):
        made = router.log().count("saved as")
        (router.root / "etc/remote-backup/last").write_text(f"{recorded}\n")
        await router.init("start")
        await router.until(lambda made=made: router.log().count("saved as") == made + 1)  # type: ignore[misc]
        await router.init("stop")
        await router.until(lambda: router.pid() is None)


def _sleeps(router: RouterWithBackups) -> bool:
    """Whether the service waits for the next backup."""
    pid = router.pid()
    if pid is None:
        return False
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline") for child in children]
    return any(b"sleep\x003600\x00" in file.read_bytes() for file in commands if file.exists())


async def test_a_missed_event_does_not_give_it_away(
    world: World, router: RouterWithBackups, server: BackupServer
) -> None:
    """The script that hears of events is gone; the state alone decides."""
    (router.root / "etc/hotplug.d/stripe-payments/50-remote-backup").unlink()
    session = await _buy(world)
    assert router.pid() is None
    await router.init("start")
    await router.until(lambda: "saved as" in router.log())
    router.kill()

    await world.bus.call("stripe-payments", "refund", {"payment_id": session})
    await world.wait_until(lambda: _locked(world))
    await router.until(lambda: "'1'" not in _feature(router))
    (router.root / "etc/remote-backup/last").unlink()
    await router.init("start")
    assert router.pid() is None
    assert len(server.stored) == 1


async def _locked(world: World) -> bool:
    return not await world.unlocked("remote_backup_daily")


def _feature(router: RouterWithBackups) -> str:
    text = (router.root / "etc/config/stripe-features").read_text()
    return text.split("'remote_backup_daily'")[1].split("config feature")[0]


async def test_without_the_payments_package_it_is_locked(
    world: World, router: RouterWithBackups, server: BackupServer
) -> None:
    await _buy(world)
    await router.until(lambda: "saved as" in router.log())
    await router.init("stop")
    (router.root / "usr/share/stripe-payments/features.sh").unlink()
    code, _ = await router.backup_now()
    assert code == 1
    assert len(server.stored) == 1


async def test_over_sftp_a_backup_gets_its_name_when_it_is_complete(
    world: World, router: RouterWithBackups, tmp_path: Path
) -> None:
    router.aim_at("sftp://keeper@backup.example.org:2222/backups")
    await _buy(world)
    await router.until(lambda: "saved as" in router.log())
    (stored,) = (router.root / "sftp-server/backups").iterdir()
    assert "etc/config/stripe-payments" in await asyncio.to_thread(
        router.decrypted, stored.read_bytes(), tmp_path
    )
    asked = (router.root / "var/log/sftp").read_text()
    assert "-P 2222" in asked
    assert "StrictHostKeyChecking=yes" in asked
    assert asked.rstrip().endswith("keeper@backup.example.org")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("", "no target"),
        ("http://127.0.0.1/backups", "must begin with sftp:// or https://"),
        ("https://127.0.0.1/$(reboot)", "characters that no address needs"),
        ("sftp://host/folder\trename", "characters that no address needs"),
    ],
)
async def test_a_target_that_is_none_is_said_so(
    world: World, router: RouterWithBackups, target: str, words: str
) -> None:
    router.aim_at(target)
    await _buy(world)
    await router.until(lambda: words in router.log())
    assert "no backup was made" in (await router.backup_now())[1]


async def test_what_goes_wrong_is_said_and_leaves_nothing_readable(
    world: World, router: RouterWithBackups, server: BackupServer
) -> None:
    await _buy(world)
    await router.until(lambda: "saved as" in router.log())
    await router.init("stop")
    await router.until(lambda: router.pid() is None)
    server.refuse = True
    code, log = await router.backup_now()
    assert code == 1
    assert log.endswith("no backup was made\n")
    assert not (router.root / "var/run/remote-backup").exists()

    server.refuse = False
    (router.root / "etc/remote-backup/ca.pem").unlink()
    assert (await router.backup_now())[0] == 1, "a server without a trusted certificate gets nothing"
    assert len(server.stored) == 1

    (router.root / "etc/remote-backup/recipient.pem").unlink()
    assert "no certificate to encrypt for" in (await router.backup_now())[1]
