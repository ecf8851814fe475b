"""The flash lost a block in the middle of the ledger: it is set aside, and rebuilt from Stripe."""

from pathlib import Path
from typing import Any

import pytest

from simulator.world import World
from tests.flows.subscriber import PREMIUM, Subscriber

pytestmark = pytest.mark.direct_only(
    "a ledger in hub mode holds the hub's last answer: nothing is rebuilt from Stripe"
)


async def damage(world: World) -> Path:
    """Stops the daemon and overwrites a part of its ledger."""
    await world.daemon.stop()
    ledger = world.root / "etc/stripe-payments/ledger.db"
    content = bytearray(ledger.read_bytes())
    content[4096 : len(content) // 2] = b"\xa5" * (len(content) // 2 - 4096)
    ledger.write_bytes(content)
    return ledger


async def test_nothing_locks_and_everything_comes_back(tmp_path: Path) -> None:
    async with World(state=tmp_path, webhooks=False) as world:
        subscriber = Subscriber(world, sees_webhooks=False)
        await subscriber.buy("price_premium_monthly")
        await subscriber.agreed(PREMIUM, "active")
        await subscriber.call("grant", feature="phone_support", until="2099-01-01T00:00:00Z")
        everything = PREMIUM | {"phone_support"}
        await subscriber.agreed(everything)
        before: Any = await subscriber.call("features")
        history: Any = await subscriber.call("transactions")
        flips = subscriber.observer.scripts()

        ledger = await damage(world)
        await world.control("faults", {"drop_connection": True})
        await world.daemon.start()
        await world.daemon_answers()
        kept = [entry.name for entry in ledger.parent.iterdir() if entry.name.startswith("ledger.db.corrupt")]
        assert kept, "the damaged file is kept for an investigation"
        assert await subscriber.refusal("sync") == "stripe_unreachable"
        assert await subscriber.call("features") == before
        assert (await subscriber.call("transactions"))["transactions"] == []

        await world.control("faults", {})
        await subscriber.call("sync")
        await subscriber.agreed(everything)
        assert await subscriber.call("features") == before
        assert await subscriber.call("transactions") == history
        assert subscriber.observer.scripts() == flips, "no script ever heard of a lock"
        assert [grant["feature"] for grant in (await subscriber.call("grants"))["grants"]] == [
            "phone_support"
        ]
        # And from here on features lock again.
        subscription = (await subscriber.subscription())["id"]
        await subscriber.call("cancel_subscription", subscription=subscription, at_period_end=False)
        await subscriber.agreed(frozenset({"phone_support"}))


async def test_what_ended_while_the_ledger_was_lost_locks_in_the_end(tmp_path: Path) -> None:
    async with World(state=tmp_path, webhooks=False) as world:
        subscriber = Subscriber(world, sees_webhooks=False)
        session_id = await subscriber.buy()
        await subscriber.agreed(PREMIUM, "paid")
        await damage(world)
        session = await world.account.request("GET", f"checkout/sessions/{session_id}")
        await world.account.request("POST", "refunds", payment_intent=session["payment_intent"])
        await world.daemon.start()
        await world.daemon_answers()
        await subscriber.call("sync")
        await subscriber.agreed(frozenset(), "refunded")
