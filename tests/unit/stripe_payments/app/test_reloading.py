"""Changed settings apply: at once for a caller that waits, later where something is in the way."""

import asyncio
import threading
from pathlib import Path

import pytest

from simulator.router.payments_uci import PaymentsUci, Reply
from stripe_payments import settings_reload
from stripe_payments.settings.loader import SettingsLoader
from tests.unit.stripe_payments.full_storage import storage_full_beyond
from tests.unit.stripe_payments.harness import Harness, Shop, open_shop
from ubus_py import Call, Table

MONTHLY = "price_base_monthly"


async def test_provision_waits_for_rpcd_with_a_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, and what it stored is active as soon as rpcd hands it out."""
    monkeypatch.setattr(settings_reload, "RELOAD_PATIENCE_S", 0.05)
    monkeypatch.setattr(Harness, "_config_changed", lambda harness, config: None)  # procd asks for no reload
    load, hands_out = PaymentsUci._load, asyncio.Event()
    hands_out.set()

    async def load_later(helper: PaymentsUci, call: Call) -> Reply:
        await hands_out.wait()
        return await load(helper, call)

    monkeypatch.setattr(PaymentsUci, "_load", load_later)
    async with open_shop(tmp_path) as shop:
        harness = shop.harness

        async def price_id() -> str | None:
            price = (await harness.parts()).settings().price(MONTHLY)
            assert price is not None
            return price.price_id

        async def provisioned() -> bool:
            return await price_id() is not None

        await harness.until(provisioned)
        before = await price_id()
        await shop.account.request("POST", f"prices/{before}", active="false")
        hands_out.clear()
        stored = (await harness.call("provision", replace=True))["stored"]
        assert list(stored) == [MONTHLY]
        assert await price_id() == before

        async def in_force() -> bool:
            return await price_id() == str(stored[MONTHLY])

        hands_out.set()
        await harness.until(in_force)


async def test_provision_waits_for_a_reload_that_is_not_done(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reload that the commit caused has read the file, and its settings are not in force yet."""
    harness, write_copy = shop.harness, SettingsLoader._write_copy
    reading, go_on = threading.Event(), threading.Event()

    def write_later(loader: SettingsLoader, sections: dict[str, Table]) -> None:
        reading.set()
        assert go_on.wait(30)
        write_copy(loader, sections)

    monkeypatch.setattr(SettingsLoader, "_write_copy", write_later)
    await harness.bus.call(
        "uci", "set", {"config": "stripe-payments", "section": MONTHLY, "values": {"amount": "599"}}
    )
    await harness.bus.call("uci", "commit", {"config": "stripe-payments"})
    assert await asyncio.to_thread(reading.wait, 30)
    provision = asyncio.create_task(harness.call("provision", dry_run=True))
    await asyncio.wait({provision}, timeout=0.5)
    go_on.set()
    assert (await provision)["different"] == [MONTHLY]


async def test_settings_are_applied_after_the_storage_was_full(shop: Shop) -> None:
    """A feature that is added to a product is unlocked for who has bought it: a full storage only delays."""
    harness = shop.harness
    await shop.buy()
    features = [*(await harness.parts()).settings().products["router_os_premium"].features, "phone_support"]
    log = harness.state / "ledger.db-wal"

    async def unlocked() -> bool:
        return (await harness.call("has", feature="phone_support"))["unlocked"] is True

    with storage_full_beyond(log.stat().st_size):
        await harness.configure("router_os_premium", feature=features)
        await asyncio.sleep(0.3)
        assert not await unlocked()
    await harness.until(unlocked)
