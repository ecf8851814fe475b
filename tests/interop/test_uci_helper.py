"""The privileged helper in real rpcd, by the table that its stand-in answers to."""

from collections.abc import AsyncIterator

import pytest

from tests.conformance.uci_helper_cases import BEFORE, CASES, MALFORMED, Case
from tests.interop.openwrt import OpenWrt
from ubus_py import Client, StatusError, Value

HELPER = "stripe-payments.uci"
PAID: dict[str, Value] = {"unlocked": True, "source": "cs_test_1", "reason": "paid"}


@pytest.fixture
async def bus(openwrt: OpenWrt) -> AsyncIterator[Client]:
    for config, text in BEFORE.items():
        (openwrt.root / "etc/config" / config).write_text(text)
    async with Client(openwrt.bus) as client:
        yield client


def inode(openwrt: OpenWrt, config: str) -> int | None:
    path = openwrt.root / "etc/config" / config
    return path.stat().st_ino if path.exists() else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_case(openwrt: OpenWrt, bus: Client, case: Case) -> None:
    for config in case.absent:
        (openwrt.root / "etc/config" / config).unlink()
    for config in case.malformed:
        (openwrt.root / "etc/config" / config).write_text(MALFORMED)
    inodes = {config: inode(openwrt, config) for config in BEFORE}
    for call in case.calls:
        try:
            answer = await bus.call(HELPER, call.method, call.arguments)
            status = 0
        except StatusError as error:
            answer, status = {}, error.code
        assert status == call.status
        if call.answer is not None:
            assert answer == call.answer
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
