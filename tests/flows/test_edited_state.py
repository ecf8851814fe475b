"""UCI `stripe-features` is edited, removed or damaged while the daemon runs."""

from typing import Any

import pytest

from simulator.world import World
from tests.flows.conftest import FEATURE, Buyer
from tests.flows.test_check import check
from tests.flows.test_interrupted_checkout import start_again
from ubus_py import StatusError

pytestmark = pytest.mark.direct_only("no payment: the state in UCI is kept by the same code in both modes")

OWNED = {FEATURE, "email_support", "priority_support", "security_updates"}
LOCKED_FEATURE = "phone_support"

EDITS = {
    "locked": f"config feature '{FEATURE}'\n\toption unlocked '0'\n",
    "unlocked unpaid": f"config feature '{LOCKED_FEATURE}'\n\toption unlocked '1'\n",
    "emptied": "",
    "malformed": "config feature 'half\n",
    "removed": None,
}


async def edit(world: World, text: str | None) -> None:
    path = world.root / "etc/config/stripe-features"
    if text is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(text)


async def repaired(world: World) -> bool:
    loaded: Any = await world.bus.call("stripe-payments.uci", "load", {})
    features = loaded["features"]
    unlocked = {name for name, section in features.items() if section.get("unlocked") == "1"}
    return unlocked == OWNED


@pytest.mark.parametrize("name", EDITS)
async def test_check_reports_it_and_a_sync_repairs_it(world: World, buyer: Buyer, name: str) -> None:
    await buyer.buy()
    await buyer.everywhere(unlocked=True)
    for locale in ("en", "it"):
        finding: dict[str, Any] = {}

        async def reported(locale: str = locale, finding: dict[str, Any] = finding) -> bool:
            await edit(world, EDITS[name])  # again: a poll in the background may have repaired it
            finding.update((await check(world, locale))["settings_helper"])
            return not finding["ok"]

        await world.wait_until(reported)
        assert finding["severity"] == "warning"
        assert "/etc/config/stripe-features" in finding["detail"]
        assert "service stripe-payments reload" in finding["hint"]
    await edit(world, EDITS[name])
    await world.bus.call("stripe-payments", "sync", {})
    await world.wait_until(lambda: repaired(world))
    assert (await check(world))["settings_helper"]["ok"]
    assert buyer.unlock_count() == 1, "the feature was unlocked all the time: no script runs again"


async def test_a_commit_through_rpcd_is_reverted_at_once(world: World, buyer: Buyer) -> None:
    await buyer.buy()
    await buyer.everywhere(unlocked=True)
    await world.bus.call(
        "uci", "set", {"config": "stripe-features", "section": FEATURE, "values": {"unlocked": "0"}}
    )
    await world.bus.call("uci", "commit", {"config": "stripe-features"})
    await world.wait_until(lambda: repaired(world))


async def test_a_sync_repairs_it_where_stripe_is_away(world: World, buyer: Buyer) -> None:
    await buyer.buy()
    await buyer.everywhere(unlocked=True)
    world.stripe.set_faults(status=500, count=99)
    await edit(world, None)
    with pytest.raises(StatusError):
        await world.bus.call("stripe-payments", "sync", {})
    await world.wait_until(lambda: repaired(world))
    world.stripe.set_faults()


async def test_with_malformed_settings_a_restart_locks_nothing_and_a_grant_counts(
    world: World, buyer: Buyer
) -> None:
    """The settings that were read last stay in use; `check` says what is wrong, and nothing untrue beside."""
    await buyer.buy()
    await buyer.everywhere(unlocked=True)
    path = world.root / "etc/config/stripe-payments"
    sound = path.read_text()
    path.write_text("config feature 'half\n")
    await world.daemon.stop()
    await start_again(world)
    await world.daemon_answers()

    async def unlocked() -> bool:
        return await world.answers_unlocked(FEATURE) is True

    await world.wait_until(unlocked)
    await world.bus.call("stripe-payments", "grant", {"feature": LOCKED_FEATURE})
    await buyer.everywhere(LOCKED_FEATURE, unlocked=True)
    found = await check(world)
    assert "malformed" in found["settings"]["detail"]
    assert "unterminated ') at line 1" in found["settings_helper"]["detail"]
    assert "Nothing is on sale" not in found["prices"]["detail"]
    path.write_text(sound)
    await world.bus.call("stripe-payments", "sync", {})
    assert await world.unlocked(FEATURE)
