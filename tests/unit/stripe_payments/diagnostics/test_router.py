"""Storage, configuration and helpers of the router, each broken for real."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulator.tests.ubus_broker.people import People
from simulator.ubus_broker import UbusBroker
from stripe_payments.diagnostics import Diagnostics
from stripe_payments.ledger import Ledger
from tests.unit.stripe_payments.diagnostics.rows import fine, row, told
from tests.unit.stripe_payments.house import House, open_house

EVERYTHING = (
    "settings",
    "enabled",
    "ledger",
    "storage",
    "state_directory",
    "settings_helper",
    "hotplug",
    "checkouts",
    "events",
    "effects",
    "payments",
)


async def test_nothing_is_wrong_out_of_the_box(house: House) -> None:
    for name in EVERYTHING:
        await fine(house, name)


async def test_a_mistake_in_the_configuration(house: House) -> None:
    await house.configure("main", grace_days="many")
    await told(house, "settings", "warning", says="main.grace_days", hint="/etc/config/stripe-payments")


async def test_switched_off(house: House) -> None:
    await house.configure("main", enabled="0")
    await told(house, "enabled", "warning", says="disabled", hint="enabled=1")


@pytest.mark.parametrize("name", ["ledger.db", "identity.json", "."])
async def test_files_that_others_can_read(offline: House, name: str) -> None:
    (offline.state / name).chmod(0o755)
    await told(offline, "state_directory", "error", says="Readable by other users", hint="chmod")


async def test_a_state_directory_that_is_gone(house: House) -> None:
    await house.parts()
    shutil.rmtree(house.state)
    await told(house, "ledger", "error", says="deleted", hint="restart")
    assert not (await row(house, "storage"))["ok"]


@pytest.fixture
def one_mebibyte(tmp_path: Path) -> Iterator[Path]:
    """A folder in which the state directory is on a file system of 1 MiB."""
    state = tmp_path / "router/etc/stripe-payments"
    state.mkdir(parents=True)
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(state)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    yield tmp_path
    subprocess.run(["umount", "-l", str(state)], check=True)


async def test_a_flash_that_fills_up(one_mebibyte: Path) -> None:
    async with open_house(one_mebibyte, STRIPE_API_BASE="http://127.0.0.1:9") as house:
        await told(house, "storage", "warning", says="nearly full", hint="df -h")
        filling = house.state / "filling"
        with filling.open("wb", buffering=0) as file:
            for _ in range(256):
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        await told(house, "storage", "error", says="full", hint="df -h")
        filling.unlink()
        await told(house, "storage", "warning", says="nearly full")


@pytest.mark.parametrize(
    ("blocks", "files", "severity"), [(16, 9, "error"), (300, 9, "warning"), (9999, 0, "error")]
)
async def test_the_thresholds_of_free_storage(house: House, blocks: int, files: int, severity: str) -> None:
    await house.parts()
    genuine = os.statvfs(house.state)
    low = os.statvfs_result((4096, 4096, genuine[2], blocks, blocks, 100, files, files, *genuine[8:]))
    assert house.service is not None
    situation = house.service.situation()
    found = await Diagnostics(lambda: replace(situation, statvfs=lambda _: low)).run("en")
    (storage,) = [one for one in found if one["id"] == "storage"]
    assert storage["severity"] == severity


async def test_a_ledger_damaged_while_open(house: House) -> None:
    parts = await house.parts()

    def fill(tx: Any) -> None:
        for number in range(3000):
            raw = {
                "id": f"pi_{number}",
                "object": "payment_intent",
                "created": number,
                "x": os.urandom(900).hex(),
            }
            tx.objects.put([raw], 0)

    await parts.ledger.write(fill)
    path = house.state / "ledger.db"
    await fine(house, "ledger")
    with path.open("r+b") as file:
        for place in range(200_000, path.stat().st_size - 4096, 40_960):
            file.seek(place // 4096 * 4096)
            file.write(os.urandom(4096))
    found = await row(house, "ledger", "en")  # asked again, it is mended already
    assert (found["ok"], found["severity"]) == (False, "error")
    assert "corrupt" in found["detail"]
    assert "rebuilt" in found["hint"]

    async def begun_anew() -> bool:
        with contextlib.suppress(AssertionError):
            await told(house, "ledger", "warning", says="has been rebuilt", hint="ledger.db.corrupt-")
            return True
        return False

    await house.until(begun_anew)


async def test_a_ledger_in_which_somebody_else_came_upon_damage(house: House, tmp_path: Path) -> None:
    await house.parts()
    assert house.service is not None
    situation = house.service.situation()
    damaged = await Ledger.open(tmp_path / "damaged.db")
    damaged.mark_corrupt("page 7 is never used")
    await damaged.close()  # as the service does at once
    for locale, says, hint in (
        ("en", "corrupt: page 7", "rebuilt"),
        ("it", "corrotto: page 7", "ricostruito"),
    ):
        found = await Diagnostics(lambda: replace(situation, ledger=damaged)).run(locale)
        (ledger,) = [one for one in found if one["id"] == "ledger"]
        assert ledger["severity"] == "error"
        assert says in ledger["detail"]
        assert hint in ledger["hint"]


async def test_a_ledger_that_had_to_be_begun_anew(house: House) -> None:
    await house.stop_daemon()
    (house.state / "ledger.db").write_bytes(b"no database at all" * 1000)
    await house.start_daemon()
    await told(house, "ledger", "warning", says="has been rebuilt", hint="ledger.db.corrupt-")


async def test_a_daemon_that_cannot_work_says_why(house: House) -> None:
    await house.stop_daemon()
    with sqlite3.connect(house.state / "ledger.db") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    await house.start_daemon()

    async def refused() -> bool:
        assert house.service is not None
        return house.service.gate.refusal is not None

    await house.until(refused)
    await told(house, "ledger", "error", says="newer version", hint="space")
    await told(house, "effects", "info", says="starting")
    await fine(house, "settings_helper")


async def test_rpcd_is_away(house: House) -> None:
    await house.parts()
    await house.router.stop()
    await told(house, "settings_helper", "error", says="stripe-payments.uci", hint="killall -HUP rpcd")


async def test_rpcd_is_away_from_the_start(house: House) -> None:
    await house.stop_daemon()
    await house.router.stop()
    await house.start_daemon()
    await told(house, "settings_helper", "error", hint="rpcd restart")
    await house.router.start()


async def test_a_configuration_that_cannot_be_read(house: House) -> None:
    await house.parts()
    (house.root / "etc/config/stripe-payments").write_text("config 'un\n")
    await told(house, "settings_helper", "error", says="cannot read", hint="uci show")


async def test_a_configuration_that_was_changed_behind_the_daemons_back(house: House) -> None:
    await house.parts()
    config = house.root / "etc/config/stripe-payments"
    config.write_text(config.read_text().replace("grace_days '7'", "grace_days '9'"))
    await told(house, "settings_helper", "warning", says="not reloaded", hint="reload")


async def test_no_hotplug_object(tmp_path: Path) -> None:
    house = House(tmp_path, {"STRIPE_API_BASE": "http://127.0.0.1:9"})
    shutil.rmtree(house.root / "etc/hotplug.d/stripe-payments", ignore_errors=True)
    try:
        await house.start()
        await told(house, "hotplug", "warning", says="is missing", hint="/etc/hotplug.d/stripe-payments")
    finally:
        await house.stop()


async def test_a_service_that_may_not_call_hotplug(tmp_path: Path) -> None:
    house = House(tmp_path, {"STRIPE_API_BASE": "http://127.0.0.1:9"})
    rights = house.root / "usr/share/acl.d/stripe-payments.json"
    allowed = json.loads(rights.read_text())
    del allowed["access"]["hotplug.stripe-payments"]
    rights.write_text(json.dumps(allowed))
    people = People()
    house.broker = UbusBroker(house.bus_path, rights.parent, accounts=people)
    try:
        await house.broker.start()
        await house.router.start()
        await house.bus.start()
        people.next_peer = people.person("stripe-payments")
        await house.start_daemon()
        await told(house, "hotplug", "warning", says="lacks permission", hint="HUP ubusd")
        await fine(house, "settings_helper")
    finally:
        await house.stop()
