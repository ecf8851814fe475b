"""What the ledger deletes, compresses and frees, and what it never does."""

import asyncio
import json
from typing import Any

from stripe_payments.ledger import Retention, SQLiteLedger, SQLiteTransaction

DAY = 86_400
NOW = 1_750_000_000


async def nothing(unchanged_since: int) -> int:
    return 0


def invoice(number: int) -> dict[str, Any]:
    return {
        "id": f"in_{number:05}",
        "object": "invoice",
        "created": number,
        "lines": [{"description": "Premium", "amount": 499, "text": "à" * 2000}],
    }


async def test_old_events_and_orders_that_came_to_nothing_go(ledger: SQLiteLedger) -> None:
    def put(tx: SQLiteTransaction) -> None:
        for name, age in (("old", 91), ("young", 89), ("old_but_waiting", 91)):
            tx.inbox.accept(f"evt_{name}", "invoice.paid", "in_1", NOW - age * DAY)
            if name != "old_but_waiting":
                tx.inbox.finish(f"evt_{name}", "applied")
        for key, state, age in (("a", "expired", 91), ("b", "complete", 91), ("c", "failed", 89)):
            row = tx.checkouts.add(key, "p", "price_1", "payment", "s", "c", "en", NOW - age * DAY)
            tx.checkouts.update(row.local_id, state=state)  # type: ignore[arg-type]

    await ledger.write(put)
    done = await Retention(ledger, lambda: NOW, nothing).tidy()
    assert done is not None
    assert (done.events, done.checkouts) == (1, 1)
    assert await ledger.read(lambda tx: [tx.checkouts.by_key(key) is not None for key in "abc"]) == [
        False,
        True,
        True,
    ]
    assert await ledger.read(lambda tx: tx.inbox.pending_count()) == 1


async def test_objects_take_a_fraction_of_their_text(ledger: SQLiteLedger) -> None:
    before = await ledger.read(lambda tx: tx.size())

    def put(tx: SQLiteTransaction) -> None:
        tx.objects.put([invoice(number) for number in range(100)], NOW)

    await ledger.write(put)
    text = 100 * len(json.dumps(invoice(1), ensure_ascii=False).encode())
    assert await ledger.read(lambda tx: tx.size()) - before < text / 4
    stored = await ledger.read(lambda tx: tx.objects.all())
    assert list(stored.values()) == [invoice(number) for number in range(100)]


async def test_beyond_its_size_old_objects_are_archived_and_space_is_released(ledger: SQLiteLedger) -> None:
    def put(tx: SQLiteTransaction) -> None:
        tx.objects.put(({**invoice(n), "noise": _noise(n)} for n in range(400)), NOW - 100 * DAY)

    asked: list[int] = []

    async def archive(unchanged_since: int) -> int:
        asked.append(unchanged_since)

        def drop(tx: SQLiteTransaction) -> int:
            gone = sorted(tx.objects.unchanged_since(unchanged_since))[:300]
            tx.objects.delete(gone)
            return len(gone)

        return await ledger.write(drop) if len(asked) == 1 else 0

    await ledger.write(put)
    before = await ledger.read(lambda tx: tx.size())
    done = await Retention(ledger, lambda: NOW, archive, size_limit=600_000).tidy()
    assert done is not None
    assert done.archived == 300
    assert asked[0] == NOW - 90 * DAY
    assert done.size < before / 3, "free pages are returned to the file system"
    assert await ledger.read(lambda tx: tx.objects.get("in_00399")) is not None
    assert await ledger.read(lambda tx: tx.objects.get("in_00001")) is None


async def test_a_day_of_trusted_time_is_enough_for_the_next_care(ledger: SQLiteLedger) -> None:
    """The clock of the event loop stands still while a device is suspended."""
    now: int | None = None
    tidied, compared = asyncio.Queue[int](), asyncio.Event()

    async def archive(unchanged_since: int) -> int:
        tidied.put_nowait(unchanged_since)
        return 0

    def trusted() -> int | None:
        compared.set()
        return now

    running = asyncio.create_task(Retention(ledger, trusted, archive, compare_every=0.001).run())

    async def compared_at(at: int | None) -> None:
        nonlocal now
        now = at
        for _ in range(3):
            compared.clear()
            await compared.wait()

    try:
        async with asyncio.timeout(10):
            for at in (None, NOW, NOW + DAY - 1):
                await compared_at(at)
            assert tidied.empty()
            now = NOW + DAY
            assert await tidied.get() == NOW + DAY - 90 * DAY
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_nothing_is_old_while_the_time_is_unknown(ledger: SQLiteLedger) -> None:
    await ledger.write(lambda tx: tx.inbox.accept("evt_1", "t", "o", 0))
    await ledger.write(lambda tx: tx.inbox.finish("evt_1", "applied"))
    assert await Retention(ledger, lambda: None, nothing).tidy() is None
    assert not await ledger.write(lambda tx: tx.inbox.accept("evt_1", "t", "o", 0))


def _noise(seed: int) -> str:
    """Text that does not compress."""
    import random

    return random.Random(seed).randbytes(2000).hex()
