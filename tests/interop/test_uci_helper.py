"""The privileged helper in real rpcd, by the table that its stand-in answers to."""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.conformance.uci_helper_cases import BEFORE, CASES, MALFORMED, WEB_SERVER, Case, FileSystem
from tests.interop.openwrt import OpenWrt
from ubus_py import Client, Status, StatusError, Value

HELPER = "stripe-payments.uci"
FILE_SYSTEMS: dict[FileSystem, str] = {
    "configurations": "/etc",
    "changes": "/run/stripe-payments-uci",
}
PAID: dict[str, Value] = {"unlocked": True, "source": "cs_test_1", "reason": "paid"}


@pytest.fixture
async def bus(openwrt: OpenWrt) -> AsyncIterator[Client]:
    for config, text in BEFORE.items():
        (openwrt.root / "etc/config" / config).write_text(text)
    async with Client(openwrt.bus) as client:
        yield client


@contextlib.contextmanager
def own_file_system(openwrt: OpenWrt, folder: str) -> Iterator[Path]:
    """A small file system of its own at `folder`, with the files that were there."""
    openwrt.sh(
        f"mkdir -p {folder} /tmp/small && mount -t tmpfs -o size=16m,mode=755 small /tmp/small"
        f" && cp -a {folder}/. /tmp/small && mount --move /tmp/small {folder}"
    )
    try:
        yield openwrt.root / folder.lstrip("/")
    finally:
        openwrt.sh(f"umount {folder}")


@contextlib.contextmanager
def read_only(openwrt: OpenWrt, folder: str) -> Iterator[None]:
    """A mount that takes no writes."""
    openwrt.sh(f"mount -o remount,ro {folder}")
    try:
        yield
    finally:
        openwrt.sh(f"mount -o remount,rw {folder}")


@contextlib.contextmanager
def filled(folder: Path, leave: int = 0) -> Iterator[None]:
    """No free byte on a file system, or only `leave` pages."""
    filler = folder / ".filler"
    free = os.statvfs(folder).f_bavail
    with filler.open("wb") as file:
        file.write(bytes(4096 * (free - leave)))
    assert os.statvfs(folder).f_bavail == leave
    try:
        yield
    finally:
        filler.unlink()


def inode(openwrt: OpenWrt, config: str) -> int | None:
    path = openwrt.root / "etc/config" / config
    return path.stat().st_ino if path.exists() else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_case(openwrt: OpenWrt, bus: Client, case: Case) -> None:
    with contextlib.ExitStack() as mounts:
        if case.own_mount:
            mounts.enter_context(own_file_system(openwrt, "/etc/config"))
        folders = {
            name: mounts.enter_context(own_file_system(openwrt, FILE_SYSTEMS[name]))
            for name in sorted({call.full for call in case.calls if call.full})
        }
        await check(openwrt, bus, case, folders)


async def check(openwrt: OpenWrt, bus: Client, case: Case, folders: dict[FileSystem, Path]) -> None:
    for config in case.absent:
        (openwrt.root / "etc/config" / config).unlink()
    for config in case.malformed:
        (openwrt.root / "etc/config" / config).write_text(MALFORMED)
    uhttpd = openwrt.root / "etc/config/uhttpd"
    mounted = uhttpd.read_text()
    if case.uhttpd is not None:
        uhttpd.write_text(case.uhttpd)
    inodes = {config: inode(openwrt, config) for config in BEFORE}
    for call in case.calls:
        with contextlib.ExitStack() as trouble:
            if call.full is not None and call.read_only:
                trouble.enter_context(read_only(openwrt, FILE_SYSTEMS[call.full]))
            elif call.full is not None:
                trouble.enter_context(filled(folders[call.full]))
            try:
                answer = await bus.call(HELPER, call.method, call.arguments)
                status = 0
            except StatusError as error:
                answer, status = {}, error.code
        assert status == call.status
        if call.answer is not None:
            ours = openwrt.url.removeprefix("http://")
            assert json.loads(json.dumps(answer).replace(ours, WEB_SERVER)) == call.answer
    if case.uhttpd is not None:
        uhttpd.write_text(mounted)
    for config, wanted in (("stripe-payments", case.settings), ("stripe-features", case.features)):
        path = openwrt.root / "etc/config" / config
        if wanted is not None:
            assert path.read_text() == wanted
        elif config not in case.absent:
            assert path.read_text() == (MALFORMED if config in case.malformed else BEFORE[config])
        assert (inode(openwrt, config) != inodes[config]) == (wanted is not None)


async def test_what_others_have_staged_is_neither_seen_nor_published(openwrt: OpenWrt, bus: Client) -> None:
    openwrt.sh("uci set stripe-features.monitoring.unlocked=1")
    try:
        await bus.call(HELPER, "store", {"features": {"priority_support": {"unlocked": False}}})
        loaded = await bus.call(HELPER, "load", {})
        features = loaded["features"]
        assert isinstance(features, dict)
        assert [features[name]["unlocked"] for name in ("monitoring", "priority_support")] == ["0", "0"]  # type: ignore[index,call-overload]
        assert openwrt.sh("uci changes") == "stripe-features.monitoring.unlocked='1'\n"
    finally:
        openwrt.sh("uci revert stripe-features")


async def test_the_files_keep_their_mode_and_nothing_is_left_behind(openwrt: OpenWrt, bus: Client) -> None:
    path = openwrt.root / "etc/config/stripe-features"
    path.chmod(0o640)
    before = {entry.name for entry in path.parent.iterdir()}
    await bus.call(HELPER, "store", {"features": {"monitoring": PAID}})
    assert path.stat().st_mode & 0o777 == 0o640
    assert {entry.name for entry in path.parent.iterdir()} == before
    assert openwrt.sh("uci -q get stripe-features.monitoring.source") == "cs_test_1\n"


async def test_a_state_file_made_again_can_be_read_by_every_package(openwrt: OpenWrt, bus: Client) -> None:
    path = openwrt.root / "etc/config/stripe-features"
    path.unlink()
    await bus.call(HELPER, "store", {"features": {"monitoring": PAID}})
    assert path.stat().st_mode & 0o777 == 0o644


async def test_scripts_that_watch_the_state_file_hear_of_a_change(openwrt: OpenWrt, bus: Client) -> None:
    """What `procd_add_reload_trigger stripe-features` of another package asks procd for."""
    script = openwrt.root / "etc/init.d/listener"
    script.write_text(
        "#!/bin/sh /etc/rc.common\nUSE_PROCD=1\nstart_service() { :; }\n"
        "service_triggers() { procd_add_reload_trigger stripe-features; }\n"
        "reload_service() { echo heard >>/tmp/heard; }\n"
    )
    script.chmod(0o755)
    openwrt.sh("/etc/init.d/listener start")
    await bus.call(HELPER, "store", {"features": {"monitoring": PAID}})
    openwrt.wait_until((openwrt.root / "tmp/heard").exists, "the reload trigger ran")
    openwrt.sh('ubus call service delete \'{"name":"listener"}\'')
    script.unlink()


async def status_of(bus: Client, method: str, arguments: dict[str, Value]) -> int:
    try:
        await bus.call(HELPER, method, arguments)
    except StatusError as error:
        return error.code
    return 0


@pytest.mark.parametrize("pages", range(6))
async def test_a_nearly_full_flash_holds_all_of_the_new_file_or_all_of_the_old(
    openwrt: OpenWrt, bus: Client, pages: int
) -> None:
    """libuci itself would leave a file of 4 KiB where only 4 KiB are free, and reply OK."""
    path = openwrt.root / "etc/config/stripe-features"
    path.write_text(BEFORE["stripe-features"].replace("kept by the owner", "x" * 6000))
    with own_file_system(openwrt, "/etc") as folder:
        await bus.call(HELPER, "load", {})
        entries = set(folder.rglob("*stripe*"))
        before = path.read_text()
        wanted = before.replace("monitoring'\n\toption unlocked '0'", "monitoring'\n\toption unlocked '1'")
        with filled(folder, leave=pages):
            status = await status_of(bus, "store", {"features": {"monitoring": {"unlocked": True}}})
            stored = status == Status.OK
            assert stored or status == Status.UNKNOWN_ERROR
            assert path.read_text() == (wanted if stored else before)
        assert stored == (pages >= 4), "two copies of two pages each"
        assert set(folder.rglob("*stripe*")) == entries


async def test_a_product_and_a_feature_of_one_name_are_named(openwrt: OpenWrt, bus: Client) -> None:
    """libuci reads no file in which a name belongs to two types of section."""
    path = openwrt.root / "etc/config/stripe-payments"
    path.write_text("config product 'backup'\n\nconfig feature 'backup'\n")
    loaded = await bus.call(HELPER, "load", {})
    reason = "section of different type overwrites prior section with same name"
    assert loaded["malformed"] == f"Parse error ({reason}) at line 3"


async def test_sections_without_a_name_survive(openwrt: OpenWrt, bus: Client) -> None:
    path = openwrt.root / "etc/config/stripe-features"
    notes = "config note\n\tlist line 'a'\n\tlist line 'b'\n\nconfig note\n\toption line 'c'\n\n"
    path.write_text(notes + BEFORE["stripe-features"])
    await bus.call(HELPER, "store", {"features": {"monitoring": PAID}})
    assert path.read_text().startswith("\n" + notes)
    assert openwrt.sh("uci -q get stripe-features.monitoring.source") == "cs_test_1\n"


async def test_rpcds_own_commit_says_ok_for_what_was_not_stored(openwrt: OpenWrt, bus: Client) -> None:
    """What the simulator's `uci` object does too, and why the helper reads back what it wrote."""
    path = openwrt.root / "etc/config/stripe-features"
    values: dict[str, Value] = {
        "config": "stripe-features",
        "section": "monitoring",
        "values": {"unlocked": "1"},
    }
    with own_file_system(openwrt, "/tmp/.uci") as folder, filled(folder):
        await bus.call("uci", "set", values)
        await bus.call("uci", "commit", {"config": "stripe-features"})
    assert path.read_text() == BEFORE["stripe-features"]
    with own_file_system(openwrt, "/etc") as folder:
        await bus.call("uci", "set", values)
        with filled(folder):
            await bus.call("uci", "commit", {"config": "stripe-features"})
        assert path.read_text() == ""


async def test_rpcds_own_commit_on_a_read_only_flash_says_ok_and_stays_staged(
    openwrt: OpenWrt, bus: Client
) -> None:
    path = openwrt.root / "etc/config/stripe-features"
    values: dict[str, Value] = {
        "config": "stripe-features",
        "section": "monitoring",
        "values": {"unlocked": "1"},
    }
    with own_file_system(openwrt, "/etc"):
        await bus.call("uci", "set", values)
        with read_only(openwrt, "/etc"):
            await bus.call("uci", "commit", {"config": "stripe-features"})
        assert path.read_text() == BEFORE["stripe-features"]
        assert openwrt.sh("uci changes") == "stripe-features.monitoring.unlocked='1'\n"
        openwrt.sh("uci revert stripe-features")


async def test_sighup_loads_a_missing_helper_and_keeps_luci_sessions(openwrt: OpenWrt, bus: Client) -> None:
    """The remedy of `check`, as it is written; a restart would end every session."""
    plugin = "/usr/share/rpcd/ucode/stripe-payments.uc"
    remedy = "killall -HUP rpcd || service rpcd restart"
    login = await bus.call("session", "login", {"username": "root", "password": "router"})
    process = openwrt.sh("pidof rpcd")
    openwrt.sh(f"mv {plugin} /tmp/helper.uc; {remedy}")

    def serves_without_helper() -> bool:  # a second SIGHUP before that would end rpcd
        objects = openwrt.sh("ubus list").split()
        return HELPER not in objects and {"session", "uci"} <= set(objects)

    openwrt.wait_until(serves_without_helper, "the helper is gone")
    openwrt.sh(f"mv /tmp/helper.uc {plugin}; {remedy}; ubus -t 20 wait_for {HELPER}")
    assert openwrt.sh("pidof rpcd") == process
    await bus.call("session", "get", {"ubus_rpc_session": login["ubus_rpc_session"]})
    openwrt.sh("/etc/init.d/rpcd stop")
    openwrt.wait_until(lambda: not openwrt.sh("pidof rpcd || :"), "rpcd has stopped")
    openwrt.sh(f"{remedy}; ubus -t 20 wait_for {HELPER}")
