"""What procd does not answer or report, and what rpcd does not keep over a restart; also of the real ones."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import pytest

from simulator.router import Router
from simulator.tests.router.bus import Bus, until
from ubus_py import CallTimeout, Encodable, Status, StatusError

SERVICE = {"name": "row", "instances": {}}
CALLS: dict[str, tuple[str, dict[str, Any], Status]] = {
    "a signal without a number is not sent, and that is OK": ("signal", {"name": "row"}, Status.OK),
    "a signal to a service that is not there": ("signal", {"name": "none", "signal": 1}, Status.NOT_FOUND),
    "a signal to nobody": ("signal", {}, Status.NOT_FOUND),
    "a list of a service that is not there": ("list", {"name": "none"}, Status.OK),
    "a service that is not there is deleted": ("delete", {"name": "none"}, Status.NOT_FOUND),
    "an event without data": ("event", {"type": "config.change"}, Status.INVALID_ARGUMENT),
    "an event that nothing waits for": ("event", {"type": "none", "data": {}}, Status.OK),
}


@pytest.mark.parametrize("name", CALLS)
async def test_what_procd_answers(bus: Bus, name: str) -> None:
    method, arguments, wanted = CALLS[name]
    await bus.call("service", "set", **SERVICE)
    if wanted is Status.OK:
        assert await bus.call("service", method, **arguments) == {}
    else:
        assert await bus.refused("service", method, **arguments) is wanted


async def test_two_calls_run_beside_each_other_and_left_over_files_run_too(bus: Bus) -> None:
    folder = bus.root / "etc/hotplug.d/stripe-payments"
    for existing in folder.iterdir():
        existing.unlink()
    log = bus.root / "tmp/ran"
    log.parent.mkdir(exist_ok=True)
    write = 'echo "$(basename {name}) $FEATURE" >>"$IPKG_INSTROOT/tmp/ran"\n'
    (folder / "10-slow").write_text('[ "$FEATURE" = second ] || sleep 1\n' + write.format(name="10-slow"))
    (folder / "20-edited~").write_text(write.format(name="20-edited~"))
    (folder / "30-python").write_text("#!/usr/bin/python3\nprint('a shell reads this')\n")
    began = time.monotonic()
    for feature in ("first", "second"):
        call = {"env": ["ACTION=lock", f"FEATURE={feature}"]}
        await bus.call("hotplug.stripe-payments", "call", **call)
    assert time.monotonic() - began < 1, "the calls do not wait for the scripts"

    async def ended() -> bool:
        return log.exists() and len(log.read_text().splitlines()) == 4

    await until(ended)
    lines = log.read_text().splitlines()
    assert lines.index("10-slow second") < lines.index("10-slow first")
    assert lines.index("10-slow first") < lines.index("20-edited~ first")


async def test_a_restart_of_rpcd_ends_every_session(bus: Bus) -> None:
    session = await bus.login()
    assert await bus.call("session", "access", ubus_rpc_session=session)
    run: Any = getattr(bus.router, "sh", None)
    if run is None:
        await bus.router.stop()
        await bus.router.start()
    else:  # a real router
        await asyncio.to_thread(run, "/etc/init.d/rpcd stop; while pidof rpcd; do sleep 0.1; done")
        await asyncio.to_thread(run, "/etc/init.d/rpcd start; ubus -t 20 wait_for session")
    assert await bus.refused("session", "access", ubus_rpc_session=session) is Status.NOT_FOUND
    assert await bus.login() != session


async def test_sighup_keeps_sessions_and_gives_them_new_rights(bus: Bus) -> None:
    session = await bus.login()
    (bus.root / "usr/share/rpcd/acl.d/later.json").write_text(
        json.dumps({"later": {"read": {"ubus": {"later": ["call"]}}}})
    )
    wanted: dict[str, Encodable] = {
        "ubus_rpc_session": session,
        "scope": "ubus",
        "object": "later",
        "function": "call",
    }
    assert await bus.call("session", "access", **wanted) == {"access": False}
    run: Any = getattr(bus.router, "sh", None)
    if run is None:
        await bus.router.hang_up()
    else:
        await asyncio.to_thread(run, "killall -HUP rpcd")

    async def granted() -> bool:
        with suppress(StatusError, CallTimeout):  # rpcd starts itself again; a call that it had is lost
            return bool((await bus.client.call("session", "access", wanted, timeout=2))["access"])
        return False

    await until(granted)
    assert (await bus.call("session", "get", ubus_rpc_session=session))["values"]["username"] == "root"


async def test_twenty_events_of_a_configuration_are_one_reload(bus: Bus) -> None:
    """procd waits for a second of silence; the stand-in for less."""
    heard = bus.root / "tmp/heard"
    heard.parent.mkdir(exist_ok=True)
    if isinstance(bus.router, Router):
        reloaded: list[str] = []

        def reload(config: str) -> None:
            reloaded.append(config)
            heard.write_text("".join(f"{one}\n" for one in reloaded))

        bus.router.watch_config(reload)
    else:
        (bus.root / "tmp/reload").write_text('#!/bin/sh\necho "$1" >>/tmp/heard\n')
        (bus.root / "tmp/reload").chmod(0o755)
        match = ["if", ["eq", "package", "row"], ["run_script", "/tmp/reload", "row"]]
        await bus.call("service", "set", name="row", triggers=[["config.change", match, 1000]])

    async def reloads(number: int) -> bool:
        return heard.exists() and len(heard.read_text().splitlines()) >= number

    for _ in range(20):
        await bus.call("service", "event", type="config.change", data={"package": "row"})
    await until(lambda: reloads(1))
    await bus.call("service", "event", type="config.change", data={"package": "row"})
    await until(lambda: reloads(2))
    assert heard.read_text() == "row\nrow\n"
