"""A ledger on a real file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stripe_payments.ledger import Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(path)
    yield ledger
    await ledger.close()
