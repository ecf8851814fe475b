"""procd's hotplug objects run the scripts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulator.tests.router.bus import Bus, until
from ubus_py import Status

OBJECT = "hotplug.stripe-payments"


@pytest.fixture
def log(root: Path) -> Path:
    """Two scripts that write down what they see."""
    folder = root / "etc/hotplug.d/stripe-payments"
    for existing in folder.iterdir():
        existing.unlink()
    (folder / "20-second").write_text('echo "second $ACTION $FEATURE" >> "$IPKG_INSTROOT/log"\n')
    (folder / "10-first").write_text('echo "first $ACTION $FEATURE" >> "$IPKG_INSTROOT/log"\nexit 3\n')
    (folder / ".hidden").write_text('echo hidden >> "$IPKG_INSTROOT/log"\n')
    return root / "log"


def written(log: Path) -> str | None:
    return log.read_text() if log.exists() else None


async def test_scripts_run_in_the_order_of_their_names(bus: Bus, log: Path) -> None:
    assert await bus.call(OBJECT, "call", env=["ACTION=unlock", "FEATURE=remote_backup"]) == {}
    await bus.router.hotplug.settled()
    assert written(log) == "first unlock remote_backup\nsecond unlock remote_backup\n"


async def test_values_are_data(bus: Bus, log: Path) -> None:
    value = "$(touch pwned); `touch pwned` 'x' \"y\" = z"
    await bus.call(OBJECT, "call", env=[f"FEATURE={value}"])
    await bus.router.hotplug.settled()
    assert written(log) == f"first  {value}\nsecond  {value}\n"
    assert not (bus.root / "pwned").exists()


async def test_the_environment_is_clean(bus: Bus, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_x")
    script = bus.root / "etc/hotplug.d/stripe-payments/10-first"
    script.write_text('env > "$IPKG_INSTROOT/env"\n')
    unfit = ["PATH=/evil", "LD_PRELOAD=x", "1A=x", "A-B=x", "=x", "AB", "IPKG_INSTROOT=/", "HOME=/evil"]
    await bus.call(OBJECT, "call", env=[*unfit, "GOOD=1", "GOOD=2", "EMPTY=x"])
    await bus.router.hotplug.settled()
    lines = (bus.root / "env").read_text().splitlines()
    seen = dict(
        line.split("=", 1) for line in lines if not line.startswith(("_=", "PWD=", "SHLVL=", "OLDPWD="))
    )
    assert seen == {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/",
        "IPKG_INSTROOT": str(bus.root),
        "GOOD": "1",
        "EMPTY": "x",
    }


async def test_the_call_answers_before_the_scripts_have_run(bus: Bus, log: Path) -> None:
    fifo = bus.root / "gate"
    os.mkfifo(fifo)
    script = bus.root / "etc/hotplug.d/stripe-payments/10-first"
    script.write_text('read line < "$IPKG_INSTROOT/gate"\necho "$line" >> "$IPKG_INSTROOT/log"\n')
    await bus.call(OBJECT, "call", env=["ACTION=lock"])
    assert written(log) is None
    fifo.write_text("now\n")
    await bus.router.hotplug.settled()
    assert written(log) == "now\nsecond lock \n"


async def test_stop_ends_scripts_that_hang(bus: Bus, log: Path) -> None:
    script = bus.root / "etc/hotplug.d/stripe-payments/10-first"
    script.write_text('echo $$ > "$IPKG_INSTROOT/pid"\nsleep 3600\n')
    await bus.call(OBJECT, "call", env=["ACTION=lock"])

    async def started() -> bool:
        return bool(written(bus.root / "pid"))

    await until(started)
    pid = int((bus.root / "pid").read_text())
    await bus.router.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert written(log) is None


async def test_refusals(bus: Bus, log: Path) -> None:
    assert await bus.refused(OBJECT, "call") is Status.INVALID_ARGUMENT
    assert await bus.refused(OBJECT, "call", env=["ASYNC=0"]) is Status.NOT_SUPPORTED
    assert await bus.refused("hotplug.none", "call", env=[]) is Status.NOT_FOUND
    published = {found.name for found in await bus.client.lookup("hotplug.*")}
    assert {"hotplug.button", OBJECT} <= published
