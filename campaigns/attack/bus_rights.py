"""Other processes on the router: what a user without rights, and the daemon's own user, may do on the bus.

With made-up accounts on the simulator's broker, which reads the shipped ACL file; `tests/interop` asks real
ubusd with real users.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from simulator.router import Router, prepare_root
from simulator.tests.ubus_broker.people import ROOT, People
from simulator.tests.ubus_broker.raw_client import RawClient
from simulator.ubus_broker import UbusBroker
from stripe_payments.app import App
from stripe_payments.bus_api import api
from ubus_py import Client, Status
from ubus_py.blobmsg import Int32, encode_table
from ubus_py.wire import Attr, AttrValue, MessageType

__all__ = ["bus_rights"]

_OBJECTS = ("stripe-payments", "stripe-payments.http")
_OF_OTHERS = (
    "session",
    "uci",
    "stripe-payments.uci",
    "system",
    "service",
    "hotplug.stripe-payments",
    "file",
    "luci",
)
_EVENTS = (
    "stripe-payments.feature",
    "stripe-payments.payment",
    "stripe-payments.subscription",
    "stripe-payments.",
    "stripe-payments",
    "ubus.object.add",
    "service",
    "network.interface",
)
_MAY = {
    "session": {"access"},
    "stripe-payments.uci": {
        "load",
        "store",
        "store_prices",
        "forget_hub_code",
        "web_servers",
        "unlimited_logins",
    },
    "hotplug.stripe-payments": {"call"},
    "system": {"board"},
}
"""What the daemon may call: docs/security.md."""


class _Bus:
    """A broker with root's router on it and the daemon under its own user."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rights-"))
        self.people = People()
        prepare_root(self.folder / "root")
        self.broker = UbusBroker(
            self.folder / "ubus.sock", self.folder / "root/usr/share/acl.d", accounts=self.people
        )
        self.router = Router(self.folder / "ubus.sock", self.folder / "root")
        self.service = App(str(self.folder / "ubus.sock"), self.folder / "state", environ={})
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.broker.start()
        await self.router.start()
        self.people.next_peer = self.people.person("stripe-payments")
        self._running = asyncio.create_task(self.service.run())
        self.root = Client(str(self.folder / "ubus.sock"))
        await asyncio.sleep(0.2)  # the daemon has connected by now: the next is another client
        self.people.next_peer = ROOT
        await self.root.start()
        await self.root.wait_for(*_OBJECTS, timeout=30)

    async def stop(self) -> None:
        await self.root.close()
        if self._running is not None:
            self.service.stop()
            await self._running
        await self.router.stop()
        await self.broker.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def client(self, name: str) -> RawClient:
        self.people.next_peer = self.people.person(name)
        try:
            return await RawClient.connect(self.folder / "ubus.sock")
        finally:
            self.people.next_peer = ROOT


async def bus_rights(cases: Cases) -> None:
    """A user without rights first, then the daemon's own, as if the daemon were taken over."""
    with listening():
        bus = _Bus()
        await bus.start()
        try:
            root = await RawClient.connect(bus.folder / "ubus.sock")
            ids = {}
            for name in (*_OBJECTS, *_OF_OTHERS):
                found, _ = await root.look_up(name)
                if found and found[0].objid is not None:
                    ids[name] = found[0].objid
            await _without_rights(cases, await bus.client("other"), ids)
            await _taken_over(cases, await bus.client("stripe-payments"), ids)
            reply = await bus.root.call("stripe-payments", "features", {})
            cases.note(None if "features" in reply else f"{reply}", "the daemon afterwards")
            await root.close()
        finally:
            await bus.stop()


async def _call(client: RawClient, object_id: int, method: str, table: bytes = b"") -> int:
    attrs: dict[int, AttrValue] = {Attr.OBJID: object_id, Attr.METHOD: method, Attr.DATA: table}
    _, status = await client.request(MessageType.INVOKE, attrs, peer=object_id)
    return status


def _refused(status: int, *, wanted: Status = Status.PERMISSION_DENIED) -> str | None:
    return None if status == wanted else f"answered {Status(status).name}"


async def _without_rights(cases: Cases, other: RawClient, ids: dict[str, int]) -> None:
    keys = encode_table({"secret_key": "sk_live_51TheAttackersOwn", "webhook_secret": "whsec_attacker"})
    for method in api:
        status = await _call(other, ids["stripe-payments"], method.name, keys)
        cases.note(_refused(status), f"calls {method.name}")
    asked = encode_table(
        {"method": "POST", "path": "/api/payments/session", "headers": {"x-remote-addr": "::1"}}
    )
    cases.note(_refused(await _call(other, ids["stripe-payments.http"], "request", asked)), "calls request")
    for name in _OBJECTS:
        found, _ = await other.look_up(name)
        cases.note("it sees it" if found else None, f"looks {name} up")
    for name in (*_OBJECTS, "stripe-payments.uci", "session", "uci", "stripe-payments.fake"):
        cases.note(await _may_publish(other, name), f"publishes {name}")
    own = await other.publish(None)
    for event in _EVENTS:
        sent = await other.send_event(event, {"feature": "remote_backup_daily", "unlocked": True})
        cases.note(_refused(sent), f"sends {event}")
    for pattern in ("stripe-payments.*", "stripe-payments.feature", "*"):
        cases.note(_refused(await other.listen(pattern, own)), f"listens to {pattern}")
    for name in _OBJECTS:
        pair: dict[int, AttrValue] = {Attr.OBJID: own, Attr.TARGET: ids[name]}
        _, status = await other.request(MessageType.SUBSCRIBE, pair)
        cases.note(_refused(status, wanted=Status.NOT_FOUND), f"subscribes to {name}")
        _, status = await other.request(MessageType.REMOVE_OBJECT, {Attr.OBJID: ids[name]})
        cases.note("removed" if status == Status.OK else None, f"removes {name}")
    cases.note(_refused(await other.system_call(3, "add", {})), "watches the bus")
    await other.close()


async def _may_publish(client: RawClient, name: str) -> str | None:
    attrs: dict[int, AttrValue] = {Attr.OBJPATH: name, Attr.SIGNATURE: b""}
    _, status = await client.request(MessageType.ADD_OBJECT, attrs)
    return "it may" if status == Status.OK else None


async def _taken_over(cases: Cases, daemon: RawClient, ids: dict[str, int]) -> None:
    for name, object_id in ids.items():
        if name in _OBJECTS:
            continue
        for method in (
            "access",
            "login",
            "create",
            "grant",
            "destroy",
            "get",
            "set",
            "commit",
            "apply",
            "exec",
            "read",
        ):
            if method not in _MAY.get(name, ()):
                cases.note(
                    _refused(await _call(daemon, object_id, method)), f"the daemon calls {name} {method}"
                )
    for name in ("session", "uci", "stripe-payments.uci", "system", "stripe-payments-2"):
        cases.note(await _may_publish(daemon, name), f"the daemon publishes {name}")
    own = await daemon.publish(None)
    for event in ("service", "ubus.object.add", "network.interface", "stripe-payments"):
        cases.note(_refused(await daemon.send_event(event, {})), f"the daemon sends {event}")
    for pattern in ("*", "service", "stripe-payments.*"):
        cases.note(_refused(await daemon.listen(pattern, own)), f"the daemon listens to {pattern}")
    cases.note(_refused(await daemon.system_call(3, "add", {})), "the daemon watches the bus")
    registered = await daemon.system_call(1, "register", {"object": Int32(ids["session"]), "pattern": "x"})
    cases.note("it may" if registered == Status.OK else None, "the daemon listens in another's name")
    await daemon.close()
