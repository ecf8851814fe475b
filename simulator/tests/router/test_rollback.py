"""LuCI's apply with rollback."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.tests.router.bus import Bus, until
from ubus_py import Status

LUCI = {"config": "luci"}


async def lang(bus: Bus) -> Any:
    return (await bus.call("uci", "get", config="luci", section="main", option="lang"))["value"]


@pytest.fixture
async def session(bus: Bus) -> str:
    """A login that has staged Italian."""
    session = await bus.login()
    values = {"lang": "it"}
    await bus.call("uci", "set", ubus_rpc_session=session, config="luci", section="main", values=values)
    return session


async def test_apply_for_good(bus: Bus, session: str) -> None:
    await bus.call("uci", "apply", ubus_rpc_session=session)
    assert await lang(bus) == "it"
    assert bus.router.service.events[-1] == ("config.change", {"package": "luci"})
    await bus.call("uci", "commit", **LUCI)
    assert await bus.refused("uci", "confirm", ubus_rpc_session=session) is Status.NO_DATA


async def test_nothing_to_apply(bus: Bus) -> None:
    assert await bus.refused("uci", "apply", ubus_rpc_session=await bus.login()) is Status.NO_DATA


async def test_apply_is_on_trial_until_confirmed(bus: Bus, session: str) -> None:
    await bus.call("uci", "apply", ubus_rpc_session=session, rollback=True, timeout=90)
    assert await lang(bus) == "it"
    for method in ("commit", "revert"):
        assert await bus.refused("uci", method, **LUCI) is Status.PERMISSION_DENIED
    other = await bus.login()
    assert other == session, "a login made meanwhile gets the session that can confirm"
    viewer = await bus.login("viewer")
    for method in ("confirm", "rollback"):
        assert await bus.refused("uci", method, ubus_rpc_session=viewer) is Status.PERMISSION_DENIED
    again = {"ubus_rpc_session": session, "rollback": True}
    assert await bus.refused("uci", "apply", **again) is Status.PERMISSION_DENIED
    await bus.call("uci", "confirm", ubus_rpc_session=session)
    assert await lang(bus) == "it"
    await bus.call("uci", "commit", **LUCI)
    assert await bus.login() != session


async def test_rollback_by_hand_restores_file_and_staged_changes(bus: Bus, session: str) -> None:
    before = bus.config("luci")
    await bus.call("uci", "apply", ubus_rpc_session=session, rollback=True, timeout=90)
    await bus.call("uci", "rollback", ubus_rpc_session=session)
    assert bus.config("luci") == before
    staged = await bus.call("uci", "changes", ubus_rpc_session=session, config="luci")
    assert staged == {"changes": [["set", "main", "lang", "it"]]}
    await bus.call("uci", "commit", **LUCI)


async def test_rollback_by_itself(bus: Bus, session: str) -> None:
    before = bus.config("luci")
    await bus.call("uci", "apply", ubus_rpc_session=session, rollback=True, timeout=1)
    assert await lang(bus) == "it"

    async def undone() -> bool:
        return bool(await lang(bus) != "it")

    await until(undone)
    assert bus.config("luci") == before
    await bus.call("uci", "commit", **LUCI)
