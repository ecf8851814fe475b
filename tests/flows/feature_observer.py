"""What scripts, listeners, UCI and the bus report of each feature, in order."""

from collections import defaultdict
from itertools import groupby
from typing import Any

from simulator.router.uci_file import UciError, parse
from simulator.world import World
from ubus_py import Event

__all__ = ["FeatureObserver", "without_repeats"]

_SCRIPT = """#!/bin/sh
echo "$ACTION $FEATURE $SOURCE" >> "{log}"
"""
_SHOWN = ("unlocked", "source", "plan", "until", "reason")


def without_repeats(delivered: list[str]) -> list[str]:
    """Return `delivered` with each run of the same word once."""
    return [word for word, _ in groupby(delivered)]


class FeatureObserver:
    """Records everything that `world` delivers from now on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._log = world.root / "var/log/hotplug"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)
        script = world.root / "etc/hotplug.d/stripe-payments/50-observer"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(_SCRIPT.format(log=self._log))
        script.chmod(0o755)
        self.events: list[Event] = []
        world.bus.listen("stripe-payments.*", self.events.append)

    def scripts(self) -> dict[str, list[str]]:
        """`unlock` and `lock`, as the hotplug scripts heard it of each feature."""
        heard: dict[str, list[str]] = defaultdict(list)
        if self._log.exists():
            for line in self._log.read_text().splitlines():
                action, feature, *_ = line.split()
                heard[feature].append(action)
        return heard

    def listeners(self) -> dict[str, list[dict[str, Any]]]:
        """The `stripe-payments.feature` events of each feature."""
        heard: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in self.events:
            if event.name == "stripe-payments.feature":
                heard[str(event.data["feature"])].append(dict(event.data))
        return heard

    def payments_delivered(self, status: str) -> list[str]:
        """The ids of the payments of which an event said that `status`, repeats included."""
        return [
            str(event.data["id"])
            for event in self.events
            if event.name == "stripe-payments.payment" and event.data["status"] == status
        ]

    def in_uci(self) -> dict[str, dict[str, Any]]:
        """Each feature as a reader of UCI finds it, its options as the bus names them. A file that is missing
        or malformed holds nothing.
        """
        file = self._world.root / "etc/config/stripe-features"
        try:
            sections = parse("stripe-features", file.read_text()).sections
        except (FileNotFoundError, UciError):
            return {}
        found = {}
        for section in sections:
            if section.type == "feature":
                options = {name: section.options.get(name) or None for name in _SHOWN}
                found[section.name] = {**options, "unlocked": options["unlocked"] == "1"}
        return found

    async def on_the_bus(self, timeout_s: float = 30.0) -> dict[str, dict[str, Any]]:
        """Each feature as the daemon has it. Raises what the bus raises."""
        answer: Any = await self._world.bus.call("stripe-payments", "features", {}, timeout=timeout_s)
        return {
            name: {option: held[option] or (False if option == "unlocked" else None) for option in _SHOWN}
            for name, held in answer["features"].items()
        }

    def disagreement(self, bus: dict[str, dict[str, Any]]) -> str | None:
        """Where the file of UCI says something else than the bus."""
        uci = self.in_uci()
        for name, held in bus.items():
            shown = uci.get(name, {**dict.fromkeys(_SHOWN), "unlocked": False, "reason": held["reason"]})
            if shown != held:
                return f"{name} is {held} on the bus, {shown} in UCI"
        strangers = [name for name, held in uci.items() if held["unlocked"] and name not in bus]
        return f"UCI unlocks {strangers}, which the daemon does not know" if strangers else None
