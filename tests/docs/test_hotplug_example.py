"""The hotplug script in docs/integrating.md, run as it stands there: the last state decides, whichever of two
changes has its scripts end last.
"""

import re

import pytest

from simulator.tests.router.bus import Bus, until
from simulator.tests.router.conftest import bus, folder, root
from tests.docs.markdown import example_script
from tests.examples.router_with_backups import FUNCTIONS, UCI

__all__ = ["bus", "folder", "root"]

LATE = '[ -z "$LATE" ] || until [ -e "$IPKG_INSTROOT/tmp/go" ]; do sleep 0.02; done\n'
SERVICE = """#!/bin/sh
for word in begin end; do echo "$word $1" >>"$IPKG_INSTROOT/tmp/service"; sleep 0.05; done
"""
ACTION = {"1": "unlock", "0": "lock"}
COMMAND = {"1": "start", "0": "stop"}


def test_both_languages_show_the_same_script() -> None:
    assert example_script("integrating.md") == example_script("integrating.it.md")


@pytest.mark.parametrize("late", ["first", "last", "both"])
@pytest.mark.parametrize("states", ["10", "01"])
async def test_the_last_state_decides(bus: Bus, states: str, late: str) -> None:
    """`x~` is run like the script beside it, as procd does; one run waits for the other."""
    scripts = bus.root / "etc/hotplug.d/stripe-payments"
    on_this_machine = re.sub(
        r"(?<=[\s>])(/usr/share|/etc/init\.d|/var/lock)/",
        r'"$IPKG_INSTROOT"\1/',
        example_script("integrating.md"),
    )
    files = {
        "lib/functions.sh": FUNCTIONS,
        "stand-ins/uci": UCI,
        "etc/init.d/my-service": SERVICE,
        "var/lock/.keep": "",
        "etc/hotplug.d/stripe-payments/40-late": LATE,
        "etc/hotplug.d/stripe-payments/50-my-service": on_this_machine,
        "etc/hotplug.d/stripe-payments/50-my-service~": on_this_machine,
    }
    (scripts / "10-log").unlink()
    for name, text in files.items():
        (bus.root / name).parent.mkdir(parents=True, exist_ok=True)
        (bus.root / name).write_text(text)
        (bus.root / name).chmod(0o755)
    done = bus.root / "tmp/service"
    for state, when in zip(states, ("first", "last"), strict=True):
        bus.write_config("stripe-features", f"\nconfig feature 'my_feature'\n\toption unlocked '{state}'\n\n")
        variables = [f"ACTION={ACTION[state]}", "FEATURE=my_feature", "SOURCE=", "PLAN=", "UNTIL="]
        await bus.call(
            "hotplug.stripe-payments",
            "call",
            env=[*variables, "LATE=1"] if late in (when, "both") else variables,
        )

    async def the_other_has_run() -> bool:
        return done.exists() and len(done.read_text().splitlines()) == 4

    if late != "both":
        await until(the_other_has_run)
    (bus.root / "tmp/go").touch()
    await bus.router.hotplug.settled()
    lines = done.read_text().splitlines()
    wanted = COMMAND[states[-1]]
    assert len(lines) == 8
    assert lines[-2:] == [f"begin {wanted}", f"end {wanted}"]
    assert [line.split()[0] for line in lines] == ["begin", "end"] * 4
