"""A configuration that somebody spoilt by hand, or a power cut did: what was bought stays unlocked."""

from tests.unit.stripe_payments.house import FEATURE, Shop

HALF = "config feature 'half\n"


async def _settings_check(shop: Shop) -> dict[str, object]:
    checks: list[dict[str, object]] = (await shop.house.call("check"))["checks"]
    return next(check for check in checks if check["id"] == "settings")


async def test_malformed_settings_are_told_and_nothing_locks_also_after_a_restart(shop: Shop) -> None:
    await shop.buy()
    file = shop.house.root / "etc/config/stripe-payments"
    sound = file.read_text()
    file.write_text(HALF)
    assert shop.house.service is not None
    shop.house.service.reload()

    async def told() -> bool:
        return (await _settings_check(shop))["ok"] is False

    await shop.house.until(told)
    assert "malformed" in str((await _settings_check(shop))["detail"])
    assert (await shop.house.call("catalog"))["plans"]  # those that were read before stay in force
    await shop.house.stop_daemon()
    await shop.house.start_daemon()
    assert (await shop.house.call("has", feature=FEATURE))["unlocked"] is True
    assert "malformed" in str((await _settings_check(shop))["detail"])
    file.write_text(sound)
    shop.house.service.reload()

    async def mended() -> bool:
        return (await _settings_check(shop))["ok"] is True

    await shop.house.until(mended)
    assert (await shop.house.call("has", feature=FEATURE))["unlocked"] is True


async def test_a_damaged_state_file_is_made_again(shop: Shop) -> None:
    await shop.buy()
    file = shop.house.root / "etc/config/stripe-features"
    await shop.house.stop_daemon()
    file.write_bytes(b"\xff\x00{{{ 'half")
    await shop.house.start_daemon()
    assert (await shop.house.call("has", feature=FEATURE))["unlocked"] is True

    async def made_again() -> bool:
        return f"config feature '{FEATURE}'\n\toption unlocked '1'" in file.read_text(errors="replace")

    await shop.house.until(made_again)
