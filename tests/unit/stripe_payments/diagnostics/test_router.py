"""Storage, configuration and helpers of the router, each broken for real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from simulator.tests.ubus_broker.people import People
from simulator.ubus_broker import UbusBroker
from stripe_payments.diagnostics import Diagnostics
from stripe_payments.ledger import SQLiteLedger
from tests.unit.stripe_payments.diagnostics.rows import finding, fine, row
from tests.unit.stripe_payments.full_storage import own_file_system
from tests.unit.stripe_payments.harness import Harness, open_harness

EVERYTHING = (
    "settings",
    "enabled",
    "ledger",
    "storage",
    "state_directory",
    "settings_helper",
    "gateway",
    "hotplug",
    "checkouts",
    "events",
    "effects",
    "payments",
    "subscriptions",
)


async def test_nothing_is_wrong_out_of_the_box(harness: Harness) -> None:
    for name in EVERYTHING:
        await fine(harness, name)


async def test_a_mistake_in_the_configuration(harness: Harness) -> None:
    await harness.configure("main", grace_days="many")
    await finding(harness, "settings", "warning", says="main.grace_days", hint="/etc/config/stripe-payments")


async def test_switched_off(harness: Harness) -> None:
    await harness.configure("main", enabled="0")
    await finding(harness, "enabled", "warning", says="disabled", hint="enabled=1")


async def manage(harness: Harness) -> None:
    """Returns when the bus shows it: a call that meets the object's replacement may get no answer."""
    await harness.configure("main", managed="1")

    async def shown() -> bool:
        found = await harness.bus.lookup("stripe-payments")
        return bool(found) and not any("grant" in one.methods for one in found)

    await harness.until(shown)


async def test_it_says_who_has_the_sellers_methods(harness: Harness) -> None:
    await finding(harness, "managed", "ok", says="Not managed")
    await manage(harness)
    await finding(harness, "managed", "ok", says="only in /etc/init.d/stripe-payments")


LOGIN = "\nconfig login\n\toption username '{name}'\n\tlist read '{read}'\n\tlist write '{write}'\n"


async def test_logins_that_could_turn_managed_off_are_named(harness: Harness) -> None:
    rpcd = harness.root / "etc/config/rpcd"
    shipped = rpcd.read_text()
    group = {"every-method": {"description": "Everything", "read": {"ubus": {"*": ["*"]}}}}
    (harness.root / "usr/share/rpcd/acl.d/everything.json").write_text(json.dumps(group))
    await manage(harness)
    for read, write, warned in [
        ("luci-*", "*", True),
        ("every-method", "none", True),
        ("none", "every-*", True),  # who may write may read
        ("luci-*", "luci-app-stripe-payments-buy", False),
    ]:
        rpcd.write_text(shipped + LOGIN.format(name="tenant", read=read, write=write))
        if warned:
            hint = "luci-app-stripe-payments and -buy"
            await finding(harness, "managed", "warning", says=": tenant.", hint=hint)
        else:
            await finding(harness, "managed", "ok", says="only in /etc/init.d/stripe-payments")


@pytest.mark.parametrize("name", ["ledger.db", "identity.json", "."])
async def test_files_that_others_can_read(offline: Harness, name: str) -> None:
    (offline.state / name).chmod(0o755)
    await finding(offline, "state_directory", "error", says="Readable by other users", hint="chmod")


async def test_a_state_directory_that_is_gone(harness: Harness) -> None:
    await harness.parts()
    shutil.rmtree(harness.state)
    await finding(harness, "ledger", "error", says="deleted", hint="restart")
    assert not (await row(harness, "storage"))["ok"]


@pytest.fixture
def one_mebibyte(tmp_path: Path) -> Iterator[Path]:
    """A folder in which the state directory is on a file system of 1 MiB."""
    with own_file_system(tmp_path / "router/etc/stripe-payments", "1m"):
        yield tmp_path


async def test_a_flash_that_fills_up(one_mebibyte: Path) -> None:
    async with open_harness(one_mebibyte, STRIPE_API_BASE="http://127.0.0.1:9") as harness:
        await finding(harness, "storage", "warning", says="nearly full", hint="df -h")
        filling = harness.state / "filling"
        with filling.open("wb", buffering=0) as file:
            for _ in range(256):
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        await finding(harness, "storage", "error", says="full", hint="df -h")
        filling.unlink()
        await finding(harness, "storage", "warning", says="nearly full")


@pytest.mark.parametrize(
    ("blocks", "files", "severity"), [(16, 9, "error"), (300, 9, "warning"), (9999, 0, "error")]
)
async def test_the_thresholds_of_free_storage(
    harness: Harness, blocks: int, files: int, severity: str
) -> None:
    await harness.parts()
    genuine = os.statvfs(harness.state)
    low = os.statvfs_result((4096, 4096, genuine[2], blocks, blocks, 100, files, files, *genuine[8:]))
    assert harness.service is not None
    situation = harness.service.situation()
    found = await Diagnostics(lambda: replace(situation, statvfs=lambda _: low)).run("en")
    (storage,) = [one for one in found if one["id"] == "storage"]
    assert storage["severity"] == severity


async def test_a_folder_that_takes_no_writes(harness: Harness) -> None:
    await harness.parts()
    store = harness.router.store
    store.read_only_flash = True
    await finding(harness, "storage", "error", says="stripe-payments is read-only", hint="remount,rw /.")
    harness.router.payments_uci.flash_mount = "/etc"
    await finding(harness, "storage", "error", says="read-only", hint="mount -o remount,rw /etc.")
    store.read_only_flash, store.free_flash = False, 0
    await finding(harness, "storage", "error", says="cannot be stored", hint="df -h /etc;")
    store.free_flash, store.free_tmp = None, 0
    await finding(harness, "storage", "error", says="/tmp is full", hint="reboot")
    store.free_tmp = None
    await fine(harness, "storage")


async def test_a_ledger_damaged_while_open(harness: Harness) -> None:
    parts = await harness.parts()

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
    path = harness.state / "ledger.db"
    await fine(harness, "ledger")
    with path.open("r+b") as file:
        for place in range(200_000, path.stat().st_size - 4096, 40_960):
            file.seek(place // 4096 * 4096)
            file.write(os.urandom(4096))
    found = await row(harness, "ledger", "en")  # by the next call it is repaired
    assert (found["ok"], found["severity"]) == (False, "error")
    assert "corrupt" in found["detail"]
    assert "rebuilt" in found["hint"]

    async def begun_anew() -> bool:
        with contextlib.suppress(AssertionError):
            await finding(harness, "ledger", "warning", says="has been rebuilt", hint="ledger.db.corrupt-")
            return True
        return False

    await harness.until(begun_anew)


async def test_a_ledger_found_corrupt_by_another_reader(harness: Harness, tmp_path: Path) -> None:
    await harness.parts()
    assert harness.service is not None
    situation = harness.service.situation()
    damaged = await SQLiteLedger.open(tmp_path / "damaged.db")
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


async def test_a_ledger_that_was_replaced(harness: Harness) -> None:
    await harness.stop_daemon()
    (harness.state / "ledger.db").write_bytes(b"no database at all" * 1000)
    await harness.start_daemon()
    await finding(harness, "ledger", "warning", says="has been rebuilt", hint="ledger.db.corrupt-")


async def test_a_daemon_that_cannot_work_says_why(harness: Harness) -> None:
    await harness.stop_daemon()
    with sqlite3.connect(harness.state / "ledger.db") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    await harness.start_daemon()

    async def refused() -> bool:
        assert harness.service is not None
        return harness.service.gate.refusal is not None

    await harness.until(refused)
    await finding(harness, "ledger", "error", says="newer version", hint="space")
    await finding(harness, "effects", "info", says="starting")
    await fine(harness, "settings_helper")


async def test_rpcd_is_away(harness: Harness) -> None:
    await harness.parts()
    await harness.router.stop()
    await finding(harness, "settings_helper", "error", says="stripe-payments.uci", hint="killall -HUP rpcd")


async def test_rpcd_is_away_from_the_start(harness: Harness) -> None:
    await harness.stop_daemon()
    await harness.router.stop()
    await harness.start_daemon()
    await finding(harness, "settings_helper", "error", hint="rpcd restart")
    await harness.router.start()


async def test_a_configuration_that_cannot_be_read(harness: Harness) -> None:
    await harness.parts()
    path = harness.root / "etc/config/stripe-payments"
    path.write_text(path.read_text() + "\nconfig product 'backup'\n\nconfig feature 'backup'\n")
    await finding(harness, "settings_helper", "error", says="section with same name", hint="uci show")
    path.write_text("config 'un\n")
    await finding(harness, "settings_helper", "error", says="unterminated ') at line 1", hint="uci show")


async def test_a_configuration_that_was_changed_behind_the_daemons_back(harness: Harness) -> None:
    await harness.parts()
    config = harness.root / "etc/config/stripe-payments"
    config.write_text(config.read_text().replace("grace_days '7'", "grace_days '9'"))
    await finding(harness, "settings_helper", "warning", says="not reloaded", hint="reload")


async def test_the_payment_pages_are_not_mounted(harness: Harness) -> None:
    """An older uhttpd configuration was put back."""
    await harness.parts()
    uhttpd = harness.root / "etc/config/uhttpd"
    lines = uhttpd.read_text().splitlines(keepends=True)
    uhttpd.write_text("".join(line for line in lines if "/payment-success" not in line))
    await finding(
        harness, "gateway", "error", says="/payment-success", hint="Run: service stripe-payments res"
    )
    await harness.bus.call(
        "uci", "set", {"config": "uhttpd", "section": "main", "values": {"max_requests": "9"}}
    )
    await finding(
        harness, "gateway", "error", says="/payment-success", hint="Run: uci commit uhttpd; service"
    )


async def test_the_public_gateway_is_closed(harness: Harness) -> None:
    holders = harness.router.payments_uci.port_holders
    await harness.configure("main", listen=["0.0.0.0:8443", ":99999"])
    await fine(harness, "gateway")
    holders["0.0.0.0:8443"] = "haproxy"
    await finding(harness, "gateway", "error", says="0.0.0.0:8443 is used by haproxy", hint="another port")
    holders["0.0.0.0:8443"] = ""
    await finding(harness, "gateway", "error", says="not listen on 0.0.0.0:8443", hint="payments restart")
    await harness.configure("main", cert="/no/such.crt", key="/no/such.key", grace_days="5")
    await finding(harness, "gateway", "error", says="certificate or key cannot be read", hint="cert and key")
    await harness.configure("main", enabled="0")
    await fine(harness, "gateway")


async def test_a_web_server_without_a_free_script_slot(harness: Harness) -> None:
    await harness.parts()
    helper = harness.router.payments_uci
    helper.slots["public"] = [(32, 32)]
    await finding(harness, "gateway", "warning", says="32 script slots of the public", hint="netstat -tn")
    helper.slots["luci"] = [(3, 3)]
    await finding(harness, "gateway", "warning", says="All 3 script slots of LuCI", hint="max_requests=12")
    helper.slots.update(luci=[(2, 3)], public=[(31, 32)])
    await fine(harness, "gateway")


async def test_a_web_server_that_was_busy_for_a_moment(harness: Harness) -> None:
    await harness.parts()
    slots = harness.router.payments_uci.slots
    slots["luci"] = [(3, 3)]
    checking = asyncio.create_task(row(harness, "gateway"))
    await asyncio.sleep(0.5)
    slots["luci"] = [(0, 3)]
    assert (await checking)["severity"] == "ok"


async def test_the_gateway_cannot_limit_slow_clients(harness: Harness) -> None:
    await harness.parts()
    harness.router.payments_uci.limits_slow_clients = False
    await finding(harness, "gateway", "warning", says="ucode-mod-socket", hint="service uhttpd restart")


@pytest.mark.parametrize("address", ["http://127.0.0.1:", "http://0.0.0.0:", "http://", "https://0.0.0.0:"])
async def test_a_web_server_that_lost_the_bus(harness: Harness, address: str) -> None:
    """However uhttpd was given its address; one that does not answer is not what this is about."""
    await harness.parts()
    replies = iter((b"500", b"500", b"200", b"404", b""))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"GET /ubus/list/stripe-payments.uci HTTP/1.0\r\n"
        if status := next(replies):
            writer.write(b"HTTP/1.1 " + status + b" Ubus Protocol Error\r\n\r\n")
        writer.close()

    secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("router").configure_cert(secured)
    context = secured if address.startswith("https") else None
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    harness.router.payments_uci.web_servers = lambda: [f"{address}{port}"]
    async with server:
        await finding(harness, "gateway", "error", says="ubusd", hint="service uhttpd restart")
        for _ in range(3):
            assert (await row(harness, "gateway"))["severity"] == "ok"
    assert (await row(harness, "gateway"))["severity"] == "ok"


async def test_rpcd_is_away_while_the_gateway_is_checked(harness: Harness) -> None:
    await harness.parts()
    await harness.router.stop()
    await finding(harness, "gateway", "info", says="rpcd")


async def test_no_hotplug_object(tmp_path: Path) -> None:
    harness = Harness(tmp_path, {"STRIPE_API_BASE": "http://127.0.0.1:9"})
    shutil.rmtree(harness.root / "etc/hotplug.d/stripe-payments", ignore_errors=True)
    try:
        await harness.start()
        await finding(harness, "hotplug", "warning", says="is missing", hint="/etc/hotplug.d/stripe-payments")
    finally:
        await harness.stop()


async def test_a_hotplug_script_that_does_not_end(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    await harness.parts()
    script = harness.root / "etc/hotplug.d/stripe-payments/60-slow"
    script.write_text("sleep 20\n")
    await harness.bus.call("hotplug.stripe-payments", "call", {"env": ["ACTION=lock", "FEATURE=x"]})
    monkeypatch.setattr("stripe_payments.diagnostics.router.SLOW_SCRIPT_S", 0)

    async def named() -> bool:
        return not (await row(harness, "hotplug"))["ok"]

    await harness.until(named)
    await finding(
        harness,
        "hotplug",
        "warning",
        says="/etc/hotplug.d/stripe-payments/60-slow has been running",
        hint="in the background",
    )


async def test_a_service_that_may_not_call_hotplug(tmp_path: Path) -> None:
    harness = Harness(tmp_path, {"STRIPE_API_BASE": "http://127.0.0.1:9"})
    rights = harness.root / "usr/share/acl.d/stripe-payments.json"
    allowed = json.loads(rights.read_text())
    del allowed["access"]["hotplug.stripe-payments"]
    rights.write_text(json.dumps(allowed))
    people = People()
    harness.broker = UbusBroker(harness.bus_path, rights.parent, accounts=people)
    try:
        await harness.broker.start()
        await harness.router.start()
        await harness.bus.start()
        people.next_peer = people.person("stripe-payments")
        await harness.start_daemon()
        await finding(harness, "hotplug", "warning", says="lacks permission", hint="HUP ubusd")
        await fine(harness, "settings_helper")
    finally:
        await harness.stop()
