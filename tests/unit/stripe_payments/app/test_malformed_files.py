"""A file that was damaged by hand or by the flash: what was bought stays unlocked."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.stripe_payments.harness import FEATURE, Shop
from ubus_py import StatusError

HALF = "config feature 'half\n"


async def _settings_check(shop: Shop) -> dict[str, object]:
    checks: list[dict[str, object]] = (await shop.harness.call("check"))["checks"]
    return next(check for check in checks if check["id"] == "settings")


async def test_malformed_settings_are_reported_and_nothing_locks_even_after_a_restart(shop: Shop) -> None:
    await shop.buy()
    file = shop.harness.root / "etc/config/stripe-payments"
    sound = file.read_text()
    file.write_text(HALF)
    assert shop.harness.service is not None
    shop.harness.service.reload()

    async def reported() -> bool:
        return (await _settings_check(shop))["ok"] is False

    await shop.harness.until(reported)
    assert "malformed" in str((await _settings_check(shop))["detail"])
    assert (await shop.harness.call("catalog"))["plans"]  # those that were read before stay active
    await shop.harness.stop_daemon()
    await shop.harness.start_daemon()
    assert (await shop.harness.call("has", feature=FEATURE))["unlocked"] is True
    assert "malformed" in str((await _settings_check(shop))["detail"])
    # the settings that were read last are still in use: what they sell, and what they unlock
    assert (await shop.harness.call("catalog"))["plans"]
    await shop.harness.call("grant", feature="phone_support")
    assert (await shop.harness.call("has", feature="phone_support"))["unlocked"] is True

    async def in_uci() -> bool:
        return (
            "config feature 'phone_support'" in (shop.harness.root / "etc/config/stripe-features").read_text()
        )

    await shop.harness.until(in_uci)
    refused = await shop.harness.refusal("provision")
    assert refused["code"] == "settings_malformed"
    file.write_text(sound)
    shop.harness.service.reload()

    async def restored() -> bool:
        return (await _settings_check(shop))["ok"] is True

    await shop.harness.until(restored)
    assert (await shop.harness.call("has", feature=FEATURE))["unlocked"] is True


async def test_a_corrupt_state_file_is_rewritten(shop: Shop) -> None:
    await shop.buy()
    file = shop.harness.root / "etc/config/stripe-features"
    await shop.harness.stop_daemon()
    file.write_bytes(b"\xff\x00{{{ 'half")
    await shop.harness.start_daemon()
    assert (await shop.harness.call("has", feature=FEATURE))["unlocked"] is True

    async def made_again() -> bool:
        return f"config feature '{FEATURE}'\n\toption unlocked '1'" in file.read_text(errors="replace")

    await shop.harness.until(made_again)


@pytest.mark.parametrize(
    "content", [None, b"", b'{"router_id": "0', bytes(60)], ids=["gone", "empty", "cut short", "zeros"]
)
async def test_a_lost_identity_is_restored_and_purchases_are_kept(shop: Shop, content: bytes | None) -> None:
    session_id = await shop.buy()
    before = await shop.harness.call("status")
    file = shop.harness.state / "identity.json"
    await shop.harness.stop_daemon()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    await shop.harness.start_daemon()
    after = await shop.harness.call("status")
    assert (after["router_id"], after["customer"]) == (before["router_id"], before["customer"])
    assert (await shop.harness.call("payment_status", payment_id=session_id))["status"] == "paid"
    await shop.harness.call("refund", payment_id=session_id)

    async def locked() -> bool:
        return (await shop.harness.call("has", feature=FEATURE))["unlocked"] is False

    await shop.harness.until(locked)


def rot(ledger: Path) -> None:
    """Every page but the first ones is other bytes, in place."""
    with ledger.open("r+b") as file:
        for page in range(8, ledger.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(os.urandom(4096))


async def test_a_ledger_that_becomes_corrupt_in_use_is_rebuilt_automatically(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = await shop.buy()
    await shop.harness.call("grant", feature="phone_support")

    def years(tx: Any) -> None:
        for number in range(3000):
            raw = {"id": f"ch_{number}", "object": "charge", "created": number, "x": os.urandom(900).hex()}
            tx.objects.put([raw], 0)

    parts = await shop.harness.parts()
    await parts.ledger.write(years)
    # Opened again, so that it holds no page in memory.
    await shop.harness.stop_daemon()
    await shop.harness.start_daemon()
    before = await shop.harness.call("features")
    rot(shop.harness.state / "ledger.db")

    # What is served comes from memory and stays right; a check, or the daily one, finds it out.
    async def healed() -> bool:
        with contextlib.suppress(StatusError):
            await shop.harness.call("check")
            return (await shop.harness.parts()) is not parts and (await shop.harness.parts()).ledger.rebuilt
        return False

    parts = await shop.harness.parts()
    await shop.harness.until(healed)
    assert await shop.harness.call("features") == before
    assert (await shop.harness.call("payment_status", payment_id=session_id))["status"] == "paid"
    assert [grant["feature"] for grant in (await shop.harness.call("grants"))["grants"]] == ["phone_support"]
    assert not [record for record in caplog.records if record.exc_info]
