"""The rest of the router: its files, ``system``, ``service``, starting and stopping."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from simulator.router import Router, prepare_root
from simulator.router.uci_file import parse
from simulator.tests.router.bus import Bus, until
from simulator.ubus_broker import UbusBroker
from ubus_py import Client, Status

REPOSITORY = Path(__file__).parents[3]


async def test_board(bus: Bus) -> None:
    board = await bus.call("system", "board")
    assert board["hostname"] == "OpenWrt"
    assert (board["model"], board["board_name"]) == ("Bananapi BPI-R4", "bananapi,bpi-r4")
    assert board["release"]["distribution"] == "OpenWrt"
    assert board["release"]["target"] == "mediatek/filogic"
    assert set(board) == {
        "kernel",
        "hostname",
        "system",
        "model",
        "board_name",
        "rootfs_type",
        "release",
    }


async def test_info(bus: Bus) -> None:
    info = await bus.call("system", "info")
    assert info["memory"]["total"] > 0
    assert len(info["load"]) == 3


async def test_services_are_kept_and_announced(bus: Bus) -> None:
    instances = {"instance1": {"command": ["/bin/true"]}}
    await bus.call("service", "set", name="demo", script="/etc/init.d/demo", instances=instances)
    assert await bus.call("service", "list", name="demo") == {
        "demo": {"instances": {"instance1": {"running": False, "command": ["/bin/true"]}}}
    }
    assert await bus.call("service", "list", name="none") == {}
    await bus.call("service", "event", type="config.change", data={"package": "network"})
    assert bus.router.service.events[-1] == ("config.change", {"package": "network"})
    await bus.call("service", "delete", name="demo")
    assert await bus.refused("service", "delete", name="demo") is Status.NOT_FOUND
    assert await bus.refused("service", "get_data", name="demo") is Status.NOT_SUPPORTED


async def test_everything_survives_a_restart_of_the_bus(folder: Path, root: Path) -> None:
    broker = UbusBroker(folder / "ubus.sock", root / "usr/share/acl.d")
    router = Router(broker.socket_path, root)
    await broker.start()
    await router.start()
    await broker.stop()
    await broker.start()
    async with Client(str(broker.socket_path)) as client:

        async def everything_is_back() -> bool:
            found = {item.name for item in await client.lookup("*")}
            return {"session", "uci", "stripe-payments.uci", "system", "service"} <= found

        await until(everything_is_back)
        assert (await client.call("uci", "configs", {}))["configs"]
    await router.stop()
    await broker.stop()


async def test_stop_without_start_is_harmless(folder: Path, root: Path) -> None:
    await Router(folder / "ubus.sock", root).stop()
    await UbusBroker(folder / "ubus.sock", folder).stop()


def test_the_prepared_root_holds_what_we_ship(root: Path) -> None:
    for package in (REPOSITORY / "files", REPOSITORY / "luci-app-stripe-payments/root"):
        for source in package.rglob("*"):
            if source.is_file():
                installed = root / source.relative_to(package)
                assert installed.read_bytes() == source.read_bytes()
                assert os.access(installed, os.X_OK) == os.access(source, os.X_OK)


def test_every_prepared_configuration_can_be_read(root: Path) -> None:
    for path in (root / "etc/config").iterdir():
        parse(path.name, path.read_text())


def test_preparing_again_keeps_the_owners_configuration_only(root: Path) -> None:
    (root / "etc/config/luci").write_text("mine")
    (root / "usr/share/rpcd/acl.d/luci-base.json").write_text("old")
    prepare_root(root)
    assert (root / "etc/config/luci").read_text() == "mine"
    assert (root / "usr/share/rpcd/acl.d/luci-base.json").read_text() != "old"


def test_acl_files_count_for_the_broker_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0o002)
    try:
        prepare_root(folder / "again")
    finally:
        os.umask(before)
    for path in (folder / "again/usr/share/acl.d").iterdir():
        assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_as_processes(folder: Path, root: Path, number: signal.Signals) -> None:
    """`python -m simulator.ubus_broker` and `python -m simulator.router`."""
    socket = folder / "ubus.sock"
    environment = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}"}
    programs = (
        ["simulator.ubus_broker", "-s", str(socket), "-A", str(root / "usr/share/acl.d")],
        ["simulator.router", "--bus", str(socket), "--root", str(root)],
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", *program, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        for program in programs
    ]
    try:
        async with asyncio.timeout(60), Client(str(socket)) as client:

            async def published() -> bool:
                return bool(await client.lookup("hotplug.stripe-payments"))

            await until(published)
            processes[0].send_signal(signal.SIGHUP)
            assert await client.call("session", "login", {"username": "root", "password": "router"})
    finally:
        codes = []
        for process in reversed(processes):
            process.send_signal(number)
            codes.append(await process.wait())
    assert codes == [0, 0]
