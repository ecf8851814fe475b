"""What a ledger of a million transactions costs, beside one of a thousand: a page, a decision, a start.

The history is a busy shop's: a hundred thousand purchases that were given back, ten thousand subscriptions
that have ended, and Stripe's objects of the newest of them. It is written by the ledger's own tables.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from campaigns.bench.processes import resident_mib
from campaigns.bench.report import Goal, Measurement
from simulator.world import World
from stripe_payments.entitlements import Purchase, Subscription, entitlements
from stripe_payments.ledger import Ledger, Transaction, TransactionRow
from stripe_payments.settings import Settings
from ubus_py import StatusError

MANY, FEW = 1_000_000, 1_000
PAGE = 20
PAGES = 300
DECISIONS = 100
SETTLE_S = 3.0
_BATCH = 20_000
_FIRST_DATE = 1_500_000_000


@dataclass
class _Seen:
    """Milliseconds, but for `ready` (seconds until the daemon answers) and `memory` (MiB)."""

    page_in_process: float
    page: float
    decision: float
    ready: float
    memory: float
    size: int


def _rows(count: int) -> Iterator[TransactionRow]:
    for number in range(count):
        yield TransactionRow(
            f"pi_{number:024}", _FIRST_DATE + number * 60, "payment", 499, "eur", "paid", "premium",
            f"https://pay.stripe.com/receipts/payment/{number:060}", None,
        )  # fmt: skip


async def _fill(path: Path, count: int) -> None:
    ledger = await Ledger.open(path)
    try:
        rows = _rows(count)

        def put_rows(tx: Transaction) -> bool:
            for _ in range(_BATCH):
                row = next(rows, None)
                if row is None:
                    return False
                tx.transactions.put(row)
            return True

        def put_bought(tx: Transaction) -> None:
            for number in range(count // 10):
                tx.purchases.put(
                    Purchase(
                        f"cs_test_{number:024}",
                        "price_1",
                        "price_premium_onetime",
                        "router_os_premium",
                        True,
                        True,
                    )
                )
            for number in range(count // 100):
                tx.subscriptions.put(
                    Subscription(
                        f"sub_{number:024}", "canceled", "price_2", "price_premium_monthly", "premium"
                    )
                )
            for number in range(500):
                tx.objects.put(
                    {"id": f"in_{number:024}", "object": "invoice", "created": number, "text": "x" * 3000}, 0
                )

        while await ledger.write(put_rows):
            pass
        await ledger.write(put_bought)
    finally:
        await ledger.close()


async def _milliseconds(times: int, work: Callable[[], Awaitable[object]]) -> list[float]:
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        await work()
        spent.append((time.perf_counter() - start) * 1000)
    return sorted(spent)


async def _in_process(path: Path, count: int) -> tuple[float, float]:
    """(a page anywhere in the history, all entitlements), the median in milliseconds."""
    chance = random.Random(1)
    ledger = await Ledger.open(path)
    try:

        def page() -> Awaitable[object]:
            date = _FIRST_DATE + chance.randrange(count) * 60
            return ledger.read(lambda tx: tx.transactions.page(PAGE, f"{date}~pi_x"))

        def decide(tx: Transaction) -> object:
            return entitlements(
                tx.subscriptions.deciding(), tx.purchases.deciding(), Settings(), _FIRST_DATE,
                last_contact=_FIRST_DATE, previous=tx.features.all(),
            )  # fmt: skip

        pages = await _milliseconds(PAGES, page)
        decisions = await _milliseconds(DECISIONS, lambda: ledger.read(decide))
        return pages[len(pages) // 2], decisions[len(decisions) // 2]
    finally:
        await ledger.close()


async def _ready(world: World) -> float:
    start = time.perf_counter()
    await world.daemon.start()
    while True:
        try:
            await world.bus.call("stripe-payments", "features", {}, timeout=1)
            return time.perf_counter() - start
        except (StatusError, TimeoutError):
            await asyncio.sleep(0.005)


async def _with_history(folder: Path, count: int) -> _Seen:
    async with World(state=folder, webhooks=False) as world:
        await world.daemon.stop()
        path = world.root / "etc/stripe-payments/ledger.db"
        await _fill(path, count)
        page_in_process, decision = await _in_process(path, count)
        starts = []
        for _ in range(3):
            await world.daemon.stop()
            starts.append(await _ready(world))
        cursor = f"{2**39}~pi_x"

        async def page() -> None:
            nonlocal cursor
            asked = {"limit": str(PAGE), "before": cursor}
            cursor = str((await world.bus.call("stripe-payments", "transactions", asked))["next"])

        pages = await _milliseconds(PAGES // 10, page)
        await world.bus.call("stripe-payments", "sync", {})  # loads the SDK, which is most of the memory
        await asyncio.sleep(SETTLE_S)
        return _Seen(
            page_in_process,
            pages[len(pages) // 2],
            decision,
            min(starts),
            resident_mib(world.daemon.pid or 0),
            path.stat().st_size,
        )


async def measure(folder: Path) -> list[Measurement]:
    """The same on both ledgers, one after the other in one run."""
    few = await _with_history(folder / "few", FEW)
    many = await _with_history(folder / "many", MANY)
    beside = f"a ledger of {FEW:,}"
    return [
        Measurement(
            "transactions, size of the ledger", many.size / 2**20, "MiB", None, few.size / 2**20, beside
        ),
        Measurement(
            "transactions, a page anywhere",
            many.page_in_process,
            "ms",
            Goal("<=", 5),
            few.page_in_process,
            beside,
        ),
        Measurement("transactions, a page over the bus", many.page, "ms", Goal("<=", 5), few.page, beside),
        Measurement(
            "transactions, all entitlements anew", many.decision, "ms", Goal("<=", 5), few.decision, beside
        ),
        Measurement(
            "transactions, start until it answers",
            many.ready,
            "s",
            Goal("<=", 1.5, of_baseline=True),
            few.ready,
            beside,
        ),
        Measurement(
            "transactions, memory", many.memory, "MiB", Goal("<=", 1.1, of_baseline=True), few.memory, beside
        ),
    ]
