"""Harnesses in particular trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.stripe_cloud import StripeCloud
from tests.unit.stripe_payments.harness import Harness, open_harness

KEY = "sk_test_51DiagnosticsDiagnostics"


@pytest.fixture
async def offline(tmp_path: Path) -> AsyncIterator[Harness]:
    """Keys, but no server where Stripe should be."""
    async with open_harness(tmp_path, STRIPE_API_BASE="http://127.0.0.1:9") as harness:
        await harness.call("set_keys", secret_key=KEY)
        yield harness


@pytest.fixture
async def unprovisioned(tmp_path: Path) -> AsyncIterator[Harness]:
    """Keys and a Stripe on which nothing is on sale."""
    async with StripeCloud() as cloud, open_harness(tmp_path, STRIPE_API_BASE=cloud.url) as harness:
        await harness.call("set_keys", secret_key=KEY)
        yield harness
