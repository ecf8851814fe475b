"""The ubus object ``uci`` beyond the transcript. Every answer here was checked against a real rpcd too."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.tests.router.bus import Bus, until
from ubus_py import Status

MAIN = "\nconfig thing 'main'\n\toption a '1'\n\tlist l 'x'\n\tlist l 'y'\n"
OTHER = "\nconfig other\n\toption z '9'\n"
SPIKE = MAIN + OTHER + "\n"


@pytest.fixture(autouse=True)
def spike(bus: Bus) -> None:
    bus.write_config("spike", SPIKE)


async def changes(bus: Bus) -> list[Any]:
    return list((await bus.call("uci", "changes", config="spike"))["changes"])


@pytest.mark.parametrize(
    ("method", "arguments", "status"),
    [
        ("get", {}, Status.INVALID_ARGUMENT),
        ("get", {"config": ""}, Status.INVALID_ARGUMENT),
        ("get", {"config": "../../etc/passwd"}, Status.NOT_FOUND),
        ("set", {"config": "spike", "section": "main"}, Status.INVALID_ARGUMENT),
        ("set", {"config": "spike", "values": {"a": "1"}}, Status.INVALID_ARGUMENT),
        ("set", {"config": "spike", "section": "main", "values": {}}, Status.NOT_FOUND),
        ("set", {"config": "spike", "section": "main", "values": {"a": []}}, Status.INVALID_ARGUMENT),
        ("set", {"config": "spike", "section": "main", "values": {"a": {}}}, Status.INVALID_ARGUMENT),
        ("set", {"config": "spike", "section": "main", "values": {"a": 1.5}}, Status.INVALID_ARGUMENT),
        ("set", {"config": "spike", "section": "@other", "values": {"a": "1"}}, Status.INVALID_ARGUMENT),
        ("set", {"config": "spike", "type": "none", "values": {"a": "1"}}, Status.NOT_FOUND),
        ("add", {"config": "spike"}, Status.INVALID_ARGUMENT),
        ("add", {"config": "spike", "type": "a b"}, Status.INVALID_ARGUMENT),
        ("add", {"config": "spike", "type": "t", "name": "a-b"}, Status.INVALID_ARGUMENT),
        ("delete", {"config": "spike"}, Status.INVALID_ARGUMENT),
        ("delete", {"config": "spike", "section": "main", "option": "none"}, Status.NOT_FOUND),
        ("rename", {"config": "spike", "section": "main"}, Status.INVALID_ARGUMENT),
        ("rename", {"config": "spike", "section": "main", "name": "a b"}, Status.INVALID_ARGUMENT),
        ("order", {"config": "spike", "sections": ["none"]}, Status.NOT_FOUND),
        ("revert", {}, Status.INVALID_ARGUMENT),
        ("confirm", {}, Status.INVALID_ARGUMENT),
        ("rollback", {}, Status.NO_DATA),
        ("apply", {}, Status.INVALID_ARGUMENT),
    ],
)
async def test_refusals(bus: Bus, method: str, arguments: dict[str, Any], status: Status) -> None:
    assert await bus.refused("uci", method, **arguments) is status
    assert await changes(bus) == []


async def test_a_malformed_file(bus: Bus) -> None:
    bus.write_config("spike", "config thing\noption a 'b\n")
    assert await bus.refused("uci", "get", config="spike") is Status.UNKNOWN_ERROR


async def test_values_of_every_kind(bus: Bus) -> None:
    values = {
        "s": "x",
        "yes": True,
        "no": False,
        "n": 7,
        "minus": -1,
        "big": 2**40,
        "mixed": ["a", 1, True, {}],
    }
    await bus.call("uci", "set", config="spike", section="main", values=values)
    got = (await bus.call("uci", "get", config="spike", section="main"))["values"]
    assert {name: got[name] for name in values} == {
        "s": "x",
        "yes": "1",
        "no": "0",
        "n": "7",
        "minus": "4294967295",
        "big": "1099511627776",
        "mixed": ["a", "1", "1"],
    }


async def test_only_differences_are_staged(bus: Bus) -> None:
    await bus.call("uci", "set", config="spike", section="main", values={"a": "1"})
    assert await changes(bus) == []
    await bus.call("uci", "set", config="spike", section="main", values={"a": "", "l": "one", "new": ""})
    assert await changes(bus) == [
        ["remove", "main", "a"],
        ["remove", "main", "l"],
        ["set", "main", "l", "one"],
    ]


async def test_many_sections_at_once(bus: Bus) -> None:
    await bus.call("uci", "add", config="spike", type="thing", name="two", values={"a": "1 2"})
    await bus.call("uci", "set", config="spike", type="thing", match={"a": "1"}, values={"hit": "1"})
    got = await bus.call("uci", "get", config="spike", match={"hit": True})
    assert list(got["values"]) == ["main", "two"]
    await bus.call("uci", "delete", config="spike", type="thing", option="hit")
    assert (await bus.call("uci", "get", config="spike", match={"hit": "1"}))["values"] == {}
    await bus.call("uci", "delete", config="spike", type="thing")
    assert list((await bus.call("uci", "get", config="spike"))["values"]) == ["cfg0203e7"]


async def test_anonymous_sections_renaming_and_order(bus: Bus) -> None:
    added = await bus.call("uci", "add", config="spike", type="other", values={"l": ["p", "q"]})
    await bus.call("uci", "rename", config="spike", section=added["section"], name="named")
    await bus.call("uci", "rename", config="spike", section="named", option="l", name="m")
    await bus.call("uci", "order", config="spike", sections=["named", "main"])
    assert (await changes(bus))[-1] == ["order", "named", 0]
    await bus.call("uci", "commit", config="spike")
    assert bus.config("spike") == (
        "\nconfig other 'named'\n\tlist m 'p'\n\tlist m 'q'\n" + MAIN + OTHER + "\n"
    )


async def test_a_commit_without_changes_leaves_the_file_alone(bus: Bus) -> None:
    bus.write_config("spike", "config thing main # mine\n option a 1\n")
    await bus.call("uci", "commit", config="spike")
    assert bus.config("spike") == "config thing main # mine\n option a 1\n"
    await bus.call("uci", "set", config="spike", section="main", values={"a": "2"})
    await bus.call("uci", "revert", config="spike")
    await bus.call("uci", "commit", config="spike")
    assert bus.config("spike") == "config thing main # mine\n option a 1\n"


async def test_changes_of_everything(bus: Bus) -> None:
    await bus.call("uci", "set", config="spike", section="main", values={"a": "2"})
    await bus.call("uci", "set", config="luci", section="main", values={"lang": "it"})
    assert await bus.call("uci", "changes") == {
        "changes": {"luci": [["set", "main", "lang", "it"]], "spike": [["set", "main", "a", "2"]]}
    }


async def test_sessions_stage_apart_and_need_rights(bus: Bus) -> None:
    session = await bus.login()
    own: dict[str, Any] = {"ubus_rpc_session": session, "config": "luci"}
    await bus.call("uci", "set", **own, section="main", values={"lang": "it"})
    assert (await bus.call("uci", "get", **own, section="main", option="lang")) == {"value": "it"}
    assert (await bus.call("uci", "get", config="luci", section="main", option="lang")) == {"value": "auto"}
    assert await bus.call("uci", "changes", ubus_rpc_session=session) == {
        "changes": {"luci": [["set", "main", "lang", "it"]]}
    }
    assert await bus.call("uci", "changes", config="luci") == {"changes": []}
    denied: dict[str, Any] = {"ubus_rpc_session": session, "config": "spike"}
    for method, more in (
        ("get", {}),
        ("changes", {}),
        ("commit", {}),
        ("revert", {}),
        ("set", {"section": "main", "values": {"a": "2"}}),
        ("add", {"type": "x"}),
        ("delete", {"section": "main"}),
    ):
        assert await bus.refused("uci", method, **denied, **more) is Status.PERMISSION_DENIED
    await bus.call("session", "destroy", ubus_rpc_session=session)
    assert not (bus.root / f"var/run/rpcd/uci-{session}").exists()
    assert await bus.refused("uci", "get", **own) is Status.PERMISSION_DENIED


async def test_an_invented_session_id_reaches_no_file(bus: Bus) -> None:
    path = {"ubus_rpc_session": "../../etc", "config": "luci"}
    assert await bus.refused("uci", "get", **path) is Status.PERMISSION_DENIED
    assert await bus.refused("uci", "apply", ubus_rpc_session="../../etc") is not Status.OK


async def test_a_commit_is_announced(bus: Bus) -> None:
    heard: list[str] = []
    bus.router.watch_config(heard.append)
    await bus.call("uci", "set", config="spike", section="main", values={"a": "2"})
    await bus.call("uci", "commit", config="spike")

    async def reloaded() -> bool:
        return heard == ["spike"]

    await until(reloaded)
    assert bus.router.service.events[-1] == ("config.change", {"package": "spike"})
