"""A flash that is full, and has room again, and configurations on a mount of their own. On the real stack:
tests/interop/test_uci_helper.py.
"""

from typing import Any

import pytest

from simulator.world import World
from tests.flows.test_check import check
from tests.flows.test_provision import in_uci, new_router, provision
from ubus_py import StatusError

pytestmark = pytest.mark.direct_only("no payment: UCI is written by the same code in both modes")

__all__ = ["new_router"]


async def test_a_router_whose_flash_is_full_and_has_room_again(world: World) -> None:
    state = world.router.root / "etc/config/stripe-features"
    before = state.read_text()
    world.router.store.free_flash = 0
    await world.bus.call("stripe-payments", "grant", {"feature": "phone_support"})

    async def reported() -> bool:
        return not (await check(world))["effects"]["ok"]

    await world.wait_until(reported)
    finding = (await check(world))["effects"]
    assert (finding["severity"], "df -h /etc /tmp" in finding["hint"]) == ("warning", True)
    assert "df -h /etc /tmp" in (await check(world, "it"))["effects"]["hint"]
    assert state.read_text() == before
    world.router.store.free_flash = None

    async def healed() -> bool:
        return bool((await check(world))["effects"]["ok"])

    await world.wait_until(healed)
    assert "phone_support" in state.read_text()


async def test_on_a_full_flash_no_id_is_reported_as_stored_and_the_settings_stay(new_router: World) -> None:
    path = new_router.router.root / "etc/config/stripe-payments"
    before = path.read_text()
    new_router.router.store.free_flash = 0
    with pytest.raises(StatusError) as refused:
        await provision(new_router)
    body: Any = refused.value.data
    assert body["error"]["code"] == "settings_not_stored"
    assert "storage full" in body["error"]["message"]
    assert "df -h" in body["error"]["hint"]
    assert path.read_text() == before
    new_router.router.store.free_flash = None
    assert in_uci(new_router) | (await provision(new_router))["stored"] == in_uci(new_router)
    assert all(in_uci(new_router).values())


async def test_configurations_on_a_mount_of_their_own(new_router: World) -> None:
    """What replaces a configuration has to be written on its file system."""
    new_router.router.store.own_mount = True
    assert (await provision(new_router))["stored"]
    assert all(in_uci(new_router).values())
    await new_router.bus.call("stripe-payments", "grant", {"feature": "phone_support"})

    async def stored() -> bool:
        return "phone_support" in (new_router.root / "etc/config/stripe-features").read_text()

    await new_router.wait_until(stored)
    assert (await check(new_router))["effects"]["ok"]
