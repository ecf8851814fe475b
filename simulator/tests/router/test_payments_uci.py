"""The stand-in of the privileged helper, by the table that the real one answers to."""

from __future__ import annotations

import re

import pytest

from simulator.router.payments_uci import COPIES
from simulator.tests.router.bus import Bus
from tests.conformance.uci_helper_cases import BEFORE, CASES, FEATURE, MALFORMED, WEB_SERVER, Case
from ubus_py import Status, StatusError

HELPER = "stripe-payments.uci"


def inode(bus: Bus, config: str) -> int | None:
    path = bus.root / "etc/config" / config
    return path.stat().st_ino if path.exists() else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_case(bus: Bus, case: Case) -> None:
    for config, text in BEFORE.items():
        bus.write_config(config, text)
    for config in case.absent:
        (bus.root / "etc/config" / config).unlink()
    for config in case.malformed:
        bus.write_config(config, MALFORMED)
    if case.uhttpd is not None:
        bus.write_config("uhttpd", case.uhttpd)
    if any(call.full == "configurations" for call in case.calls):
        bus.router.payments_uci.flash_mount = "/etc"
    bus.router.store.own_mount = case.own_mount
    bus.router.payments_uci.web_servers = lambda: [f"http://{WEB_SERVER}"]
    inodes = {config: inode(bus, config) for config in BEFORE}
    for call in case.calls:
        flash_fails = call.full == "configurations"
        bus.router.store.read_only_flash = flash_fails and call.read_only
        bus.router.store.free_flash = 0 if flash_fails and not call.read_only else None
        bus.router.store.free_tmp = 0 if call.full == "changes" else None
        try:
            answer = await bus.client.call(HELPER, call.method, call.arguments)
            status = 0
        except StatusError as error:
            answer, status = {}, error.code
        assert status == call.status
        if call.answer is not None:
            assert answer == call.answer
    for config, wanted in (("stripe-payments", case.settings), ("stripe-features", case.features)):
        if wanted is not None:
            assert bus.config(config) == wanted
        elif config not in case.absent:
            assert bus.config(config) == (MALFORMED if config in case.malformed else BEFORE[config])
        assert (inode(bus, config) != inodes[config]) == (wanted is not None)


async def test_a_copy_outside_a_mount_of_its_own_cannot_replace_the_configuration(bus: Bus) -> None:
    """What every store met as long as the copy was written in the folder above."""
    bus.write_config("stripe-features", BEFORE["stripe-features"])
    bus.router.store.own_mount = True
    bus.router.payments_uci.copies = "etc/.stripe-payments-uci"
    with pytest.raises(StatusError) as refused:
        await bus.call(HELPER, "store", features={"monitoring": FEATURE})
    assert refused.value.code == Status.UNKNOWN_ERROR
    assert bus.config("stripe-features") == BEFORE["stripe-features"]
    assert not list(bus.root.glob("etc/**/*stripe-payments-uci*"))


def test_the_copies_are_where_the_shipped_helper_writes_them(bus: Bus) -> None:
    helper = (bus.root / "usr/share/rpcd/ucode/stripe-payments.uc").read_text()
    folders = dict(re.findall(r"^const (\w+_DIR) = ['`](.+)['`];", helper, re.MULTILINE))
    shipped = folders["COPIES_DIR"].replace("${CONFIG_DIR}", folders["CONFIG_DIR"])
    assert shipped == f"/{COPIES}"


async def test_what_others_have_staged_is_neither_seen_nor_published(bus: Bus) -> None:
    for config, text in BEFORE.items():
        bus.write_config(config, text)
    await bus.call("uci", "set", config="stripe-features", section="monitoring", values={"unlocked": "1"})
    await bus.call(HELPER, "store", features={"priority_support": {"unlocked": False}})
    loaded = await bus.call(HELPER, "load")
    assert loaded["features"]["monitoring"]["unlocked"] == "0"
    assert loaded["features"]["priority_support"]["unlocked"] == "0"
    assert await bus.call("uci", "changes", config="stripe-features") == {
        "changes": [["set", "monitoring", "unlocked", "1"]]
    }


async def test_a_write_is_announced_and_keeps_the_files_mode(bus: Bus) -> None:
    for config, text in BEFORE.items():
        bus.write_config(config, text)
    path = bus.root / "etc/config/stripe-features"
    path.chmod(0o640)
    await bus.call(HELPER, "store", features={"monitoring": FEATURE})
    await bus.call(HELPER, "store", features={"monitoring": FEATURE})
    assert list(bus.router.service.events) == [("config.change", {"package": "stripe-features"})]
    assert path.stat().st_mode & 0o777 == 0o640


async def test_a_paid_feature_unlocks_while_a_rollback_is_pending(bus: Bus) -> None:
    for config, text in BEFORE.items():
        bus.write_config(config, text)
    session = await bus.login()
    await bus.call(
        "uci", "set", ubus_rpc_session=session, config="luci", section="main", values={"lang": "it"}
    )
    await bus.call("uci", "apply", ubus_rpc_session=session, rollback=True, timeout=90)
    await bus.call(HELPER, "store", features={"monitoring": FEATURE})
    assert (await bus.call(HELPER, "load"))["features"]["monitoring"]["unlocked"] == "1"


async def test_a_product_and_a_feature_of_one_name_are_named(bus: Bus) -> None:
    bus.write_config("stripe-payments", "config product 'backup'\n\nconfig feature 'backup'\n")
    loaded = await bus.call(HELPER, "load")
    reason = "section of different type overwrites prior section with same name"
    assert loaded["malformed"] == f"Parse error ({reason}) at line 3"
