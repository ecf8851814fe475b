"""The ubus object ``service``: as much of procd as others speak to.

It keeps what is set of services and starts none: the simulator runs the daemon itself. ``event`` is how a
commit becomes known; a caller that acts on one, as an init script's reload trigger does, uses ``watch``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ubus_py import ARRAY, BOOLEAN, INT32, STRING, TABLE, Call, Method, Object, Status, StatusError, Value

Watcher = Callable[[str], object]

_SERVICE = {
    "name": STRING,
    "script": STRING,
    "instances": TABLE,
    "triggers": ARRAY,
    "validate": ARRAY,
    "autostart": BOOLEAN,
    "data": TABLE,
}
_INSTANCE = {"name": STRING, "instance": STRING}
KEPT_EVENTS = 1000
RELOAD_DELAY_S = 0.05
"""Reload triggers wait for so long a silence, so that many commits are one reload. (procd.sh: one second.)"""


class ServiceObject:
    """``events`` holds the latest events, oldest first: (type, data)."""

    def __init__(self) -> None:
        self.reload_delay_s = RELOAD_DELAY_S
        self.events: deque[tuple[str, dict[str, Value]]] = deque(maxlen=KEPT_EVENTS)
        self._services: dict[str, dict[str, Value]] = {}
        self._watchers: list[Watcher] = []
        self._due: dict[str, asyncio.TimerHandle] = {}

    def object(self) -> Object:
        """The object to publish."""
        unsupported = {
            "update_start": {"name": STRING},
            "update_complete": {"name": STRING},
            "event": {"type": STRING, "data": TABLE},
            "validate": {"package": STRING, "type": STRING, "service": STRING},
            "get_data": {**_INSTANCE, "type": STRING},
            "set_data": {**_INSTANCE, "data": TABLE},
            "state": {"spawn": BOOLEAN, "name": STRING},
            "watchdog": {"mode": INT32, "timeout": INT32, **_INSTANCE},
        }
        supported = {"event": self._event}
        return Object(
            "service",
            [
                Method("set", self._set, _SERVICE),
                Method("add", self._set, _SERVICE),
                Method("list", self._list, {"name": STRING, "verbose": BOOLEAN}),
                Method("delete", self._delete, _INSTANCE),
                Method("signal", self._signal, {**_INSTANCE, "signal": INT32}),
                *(Method(name, supported.get(name, _refuse), args) for name, args in unsupported.items()),
            ],
        )

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher`` with the name of each configuration that changed, as a reload trigger is."""
        self._watchers.append(watcher)

    def changed(self, config: str) -> None:
        """A configuration was written: what rpcd reports to procd after a commit."""
        self._record("config.change", {"package": config})

    def _record(self, kind: str, data: dict[str, Value]) -> None:
        self.events.append((kind, data))
        package = data.get("package")
        if kind == "config.change" and isinstance(package, str):
            if (due := self._due.pop(package, None)) is not None:
                due.cancel()
            loop = asyncio.get_running_loop()
            self._due[package] = loop.call_later(self.reload_delay_s, self._trigger, package)

    def _trigger(self, package: str) -> None:
        del self._due[package]
        for watcher in self._watchers:
            watcher(package)

    async def _event(self, call: Call) -> None:
        kind, data = call.args.get("type"), call.args.get("data")
        if not isinstance(kind, str) or not isinstance(data, dict):
            raise StatusError(Status.INVALID_ARGUMENT)
        self._record(kind, data)

    async def _set(self, call: Call) -> None:
        name = call.args.get("name")
        if not isinstance(name, str):
            raise StatusError(Status.INVALID_ARGUMENT)
        self._services[name] = {key: value for key, value in call.args.items() if key in _SERVICE}

    async def _list(self, call: Call) -> dict[str, Value]:
        name = call.args.get("name")
        services = self._services
        if isinstance(name, str):
            services = {name: services[name]} if name in services else {}
        return {key: _running(service) for key, service in services.items()}

    async def _signal(self, call: Call) -> None:
        """procd answers OK where no number is given, and sends nothing. No service runs here to get one."""
        if call.args.get("name") not in self._services or isinstance(call.args.get("signal"), int):
            raise StatusError(Status.NOT_FOUND)

    async def _delete(self, call: Call) -> None:
        name = call.args.get("name")
        if not isinstance(name, str):
            raise StatusError(Status.INVALID_ARGUMENT)
        if self._services.pop(name, None) is None:
            raise StatusError(Status.NOT_FOUND)


def _running(service: dict[str, Value]) -> Value:
    instances = service.get("instances")
    if not isinstance(instances, dict) or not instances:
        return {}
    return {
        "instances": {
            name: {"running": False, **(instance if isinstance(instance, dict) else {})}
            for name, instance in instances.items()
        }
    }


async def _refuse(call: Call) -> None:
    raise StatusError(Status.NOT_SUPPORTED)
