"""A harness for each test, and a shop where something is to be bought."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.stripe_payments.harness import Harness, Shop, open_harness, open_shop


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    """Nothing is configured; Stripe cannot be reached."""
    async with open_harness(tmp_path, STRIPE_API_BASE="http://127.0.0.1:9") as harness:
        yield harness


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """Everything is on sale."""
    async with open_shop(tmp_path) as shop:
        yield shop
