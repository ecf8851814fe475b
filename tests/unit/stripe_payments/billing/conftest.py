from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from simulator.stripe_cloud import StripeCloud
from tests.unit.stripe_payments.engine import Engine, open_engine, stocked_cloud


@pytest_asyncio.fixture
async def cloud() -> AsyncIterator[StripeCloud]:
    async with stocked_cloud() as cloud:
        yield cloud


@pytest_asyncio.fixture
async def engine(cloud: StripeCloud, tmp_path: Path) -> AsyncIterator[Engine]:
    async with open_engine(cloud, tmp_path / "router") as engine:
        yield engine
