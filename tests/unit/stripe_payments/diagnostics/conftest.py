"""Houses in particular trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.stripe_cloud import StripeCloud
from tests.unit.stripe_payments.house import House, Shop, open_house

KEY = "sk_test_51DiagnosticsDiagnostics"


@pytest.fixture
async def offline(tmp_path: Path) -> AsyncIterator[House]:
    """Keys, but nobody listens where Stripe should be."""
    async with open_house(tmp_path, STRIPE_API_BASE="http://127.0.0.1:9") as house:
        await house.call("set_keys", secret_key=KEY)
        yield house


@pytest.fixture
async def unprovisioned(tmp_path: Path) -> AsyncIterator[House]:
    """Keys and a Stripe on which nothing is on sale."""
    async with StripeCloud() as cloud, open_house(tmp_path, STRIPE_API_BASE=cloud.url) as house:
        await house.call("set_keys", secret_key=KEY)
        yield house


@pytest.fixture
def house_of_shop(shop: Shop) -> House:
    return shop.house
