"""What a router has been through before its case: prepared once, copied for each."""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from simulator.world import World
from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from stripe_payments.payment_history import TransactionRow
from tests.flows.subscriber import PREMIUM, Subscriber

__all__ = ["ONETIME", "PREMIUM", "Pasts"]

ONETIME = "price_premium_onetime"
MONTHLY = "price_premium_monthly"
LEDGER = "router/etc/stripe-payments/ledger.db"


class Pasts:
    """Folders below `folder`, made when first asked for: `boxed` (no keys yet), `selling`, `bought` (the
    one-time product), `subscribed` (Premium, by the month).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making: dict[str, asyncio.Task[Path]] = {}

    async def get(self, name: str, *, seasoned: bool = False) -> Path:
        """The folder to copy. `seasoned`: with years of history in the ledger, three times what SQLite keeps
        of it in memory.
        """
        full_name = f"{name}, seasoned" if seasoned else name
        if full_name not in self._making:
            making = self._season(name, full_name) if seasoned else self._make(name)
            self._making[full_name] = asyncio.create_task(making)
        return await asyncio.shield(self._making[full_name])

    async def _make(self, name: str) -> Path:
        folder = self._folder / name
        if folder.exists():  # made earlier, for another event loop or by another process
            return folder
        making = Path(tempfile.mkdtemp(dir=self._folder))
        async with World(state=making, configured=name != "boxed") as world:
            await _LIVES[name](Subscriber(world))
        (making / "router/var/log/stripe-payments.log").unlink()
        await asyncio.to_thread(_a_minute_passes, making / LEDGER)
        return _complete(making, folder)

    async def _season(self, name: str, full_name: str) -> Path:
        folder = self._folder / full_name
        if folder.exists():
            return folder
        making = Path(tempfile.mkdtemp(dir=self._folder))
        shutil.copytree(await self.get(name), making, symlinks=True, dirs_exist_ok=True)
        ledger = await SQLiteLedger.open(making / LEDGER)
        await ledger.write(_years_pass)
        await ledger.close()
        return _complete(making, folder)


def _complete(making: Path, folder: Path) -> Path:
    """Give the folder its name, once all is in it; another process may have been faster."""
    try:
        making.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    return folder


def _years_pass(tx: SQLiteTransaction) -> None:
    chance = Random(0)  # what can be compressed is
    rows: list[TransactionRow] = []
    for number in range(4000):
        name, note = f"old_{number:05d}", chance.randbytes(500).hex()
        tx.objects.put([{"id": f"ch_{name}", "object": "charge", "created": number, "note": note}], number)
        rows.append(TransactionRow(f"pi_{name}", number, "payment", 199, "eur", "paid", "long ago"))
    tx.history.put(rows)


def _a_minute_passes(ledger: Path) -> None:
    """What was delivered is not repeated after a reboot any more."""
    with sqlite3.connect(ledger) as connection:
        connection.execute("DELETE FROM outbox")
    connection.close()


async def _nothing_happens(subscriber: Subscriber) -> None:
    del subscriber


async def _buys(subscriber: Subscriber) -> None:
    await subscriber.buy(ONETIME)
    await subscriber.agreed(PREMIUM, "paid")


async def _subscribes(subscriber: Subscriber) -> None:
    await subscriber.buy(MONTHLY)
    await subscriber.agreed(PREMIUM, "active")


_LIVES: dict[str, Callable[[Subscriber], Awaitable[None]]] = {
    "boxed": _nothing_happens,
    "selling": _nothing_happens,
    "bought": _buys,
    "subscribed": _subscribes,
}
