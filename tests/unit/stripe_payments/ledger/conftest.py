"""A ledger on a real file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from stripe_payments.ledger.opening import META_REBUILDING


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SQLiteLedger]:
    ledger = await SQLiteLedger.open(path)
    yield ledger
    await ledger.close()


@pytest.fixture
async def filled(path: Path) -> Path:
    """The file of a closed ledger that is complete and has some hundred pages."""
    ledger = await SQLiteLedger.open(path)

    def fill(tx: SQLiteTransaction) -> None:
        for number in range(2000):
            tx.inbox.accept(f"evt_{number}", "charge.refunded", f"ch_{number}", number)
        tx.meta.delete(META_REBUILDING)

    await ledger.write(fill)
    await ledger.close()
    return path
