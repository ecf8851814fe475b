from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from simulator.stripe_cloud import StripeCloud
from tests.unit.stripe_payments.seller import Seller, selling, stocked_cloud


@pytest_asyncio.fixture
async def cloud() -> AsyncIterator[StripeCloud]:
    async with stocked_cloud() as cloud:
        yield cloud


@pytest_asyncio.fixture
async def seller(cloud: StripeCloud, tmp_path: Path) -> AsyncIterator[Seller]:
    async with selling(cloud, tmp_path / "router") as seller:
        yield seller
