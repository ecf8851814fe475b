"""A ledger, a simulated router on real sockets, and listeners for everything the router gets."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from simulator.router import Router, prepare_root
from simulator.router.uci_file import parse
from simulator.ubus_broker import UbusBroker
from stripe_payments.entitlements import Entitlement, changes
from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from stripe_payments.unlocks import Bus, Unlocks, uci_writer, worker
from ubus_py import Client, Event

PATIENCE = 30.0
SCRIPT = (
    'printf "%s %s %s %s %s\\n" "$ACTION" "$FEATURE" "$SOURCE" "$PLAN" "$UNTIL" >> "$IPKG_INSTROOT/calls"\n'
)


@dataclass
class World:
    root: Path
    broker: UbusBroker
    router: Router
    client: Client
    ledger: SQLiteLedger
    ledger_path: Path
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    async def decide(self, *entitlements: Entitlement) -> None:
        """What reconciliation does: new entitlements and their effects in one transaction."""

        def write(tx: SQLiteTransaction) -> None:
            before = tx.features.all()
            after = {**before, **{held.feature: held for held in entitlements}}
            tx.features.replace(after)
            for change in changes(before, after):
                tx.outbox.add("feature", change.payload())

        await self.ledger.write(write)

    def uci(self) -> dict[str, Mapping[str, object]]:
        text = (self.root / "etc/config/stripe-features").read_text()
        return {section.name: section.options for section in parse("stripe-features", text).sections}

    def unlocked(self) -> set[str]:
        return {name for name, options in self.uci().items() if options.get("unlocked") == "1"}

    def scripts(self) -> list[str]:
        reported = self.root / "calls"
        return [line.rstrip() for line in reported.read_text().splitlines()] if reported.exists() else []

    async def scripts_are(self, expected: list[str]) -> None:
        """procd answers before the scripts have run."""
        await until(lambda: len(self.scripts()) >= len(expected))
        assert self.scripts() == expected

    @asynccontextmanager
    async def working(self, bus: Bus | None = None, runtime: Path | None = None) -> AsyncIterator[Unlocks]:
        unlocks = Unlocks(self.ledger, bus or self.client, runtime)
        task = asyncio.create_task(unlocks.run())
        try:
            yield unlocks
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def work_off(self) -> None:
        async with self.working() as unlocks, asyncio.timeout(PATIENCE):
            await unlocks.drained()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="unlocks-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(worker, "SCRIPTS_APART_S", 0.01)
    for module in (worker, uci_writer):
        monkeypatch.setattr(module, "_FIRST_DELAY_S", 0.01)
        monkeypatch.setattr(module, "_LONGEST_DELAY_S", 0.05)
    root = folder / "root"
    prepare_root(root)
    scripts = root / "etc/hotplug.d/stripe-payments"
    for shipped in scripts.iterdir():
        shipped.unlink()
    (scripts / "50-record").write_text(SCRIPT)
    broker = UbusBroker(folder / "ubus.sock", root / "usr/share/acl.d")
    await broker.start()
    router = Router(broker.socket_path, root)
    await router.start()
    client, listener = Client(str(broker.socket_path)), Client(str(broker.socket_path))
    await client.start()
    path = folder / "state" / "ledger.db"
    ledger = await SQLiteLedger.open(path)
    world = World(root, broker, router, client, ledger, path)

    def hear(event: Event) -> None:
        world.events.append((event.name, dict(event.data)))

    listener.listen("stripe-payments.*", hear)  # ubusd does not send a client its own events
    await listener.start()
    yield world
    await world.ledger.close()
    await listener.close()
    await client.close()
    await router.stop()
    await broker.stop()
