"""The daemon under test: its process with a bus (`harness`, `shop`), or its services alone (`engine`)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.stripe_cloud import StripeCloud
from tests.unit.stripe_payments.engine import Engine, open_engine, stocked_cloud
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


@pytest.fixture
async def cloud() -> AsyncIterator[StripeCloud]:
    """Stripe, with the products and prices of the engine's catalog."""
    async with stocked_cloud() as cloud:
        yield cloud


@pytest.fixture
async def engine(cloud: StripeCloud, tmp_path: Path) -> AsyncIterator[Engine]:
    """A router that sells what `cloud` has."""
    async with open_engine(cloud, tmp_path / "router") as engine:
        yield engine
