"""A plan from the first payment to its end, with everything that happens to one in between."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from simulator.world import World
from tests.flows.conftest import WorldMaker
from tests.flows.modes import DELIVERIES, Mode
from tests.flows.subscriber import BUSINESS, GOOD_CARD, PREMIUM, RENEWALS_FAIL, Subscriber

NOTHING: frozenset[str] = frozenset()


@pytest.fixture
async def subscriber(make_world: WorldMaker, mode: Mode, webhooks: str) -> AsyncIterator[Subscriber]:
    """`drop`: the router, or its hub, has no webhook at all."""
    polls = mode == "direct" and webhooks == "drop"
    async with make_world(webhooks=not polls) as world:
        if webhooks != "drop":
            await world.control("faults", {"webhooks": webhooks})
        yield await Subscriber(world, sees_webhooks=not polls).listens()
        assert world.stripe.drift == []


@pytest.mark.parametrize(("mode", "webhooks"), DELIVERIES)
async def test_from_the_first_payment_to_the_end(subscriber: Subscriber) -> None:
    await subscriber.buy("price_premium_monthly")
    await subscriber.agreed(PREMIUM, "active")
    subscription: Any = await subscriber.subscription()
    assert (subscription["plan"], subscription["status"], subscription["amount"]) == (
        "premium",
        "active",
        499,
    )
    first_end = subscription["current_period_end"]
    name = subscription["id"]
    assert subscriber.in_uci()["source"] == name

    # It renews.
    await subscriber.time_passes(32)

    async def renewed() -> bool:
        return bool((await subscriber.subscription())["current_period_end"] > first_end)

    await subscriber.world.wait_until(renewed)
    await subscriber.agreed(PREMIUM, "active")
    assert await subscriber.charged() == [499, 499]

    # The next renewal is declined: grace, then locked.
    await subscriber.gives_card(RENEWALS_FAIL)
    await subscriber.time_passes(31)
    await subscriber.agreed(PREMIUM, "grace")
    owing = await subscriber.subscription()
    assert owing["status"] == "past_due"

    async def explained() -> bool:
        """The charge that says why may arrive after the invoice."""
        shown = [await subscriber.last_invoice(), (await subscriber.subscription())["latest_invoice"]]
        return [(one["failure"] or {}).get("decline_code") for one in shown] == ["generic_decline"] * 2

    await subscriber.world.wait_until(explained)

    async def until_in_uci() -> bool:
        """A webhook that comes late may move the end of grace between two reads."""
        return bool(subscriber.in_uci()["until"] == (await subscriber.subscription())["grace_until"])

    await subscriber.world.wait_until(until_in_uci)
    assert await subscriber.refusal("change_plan", subscription=name, price_id="price_business_monthly") == (
        "not_changeable"
    )
    await subscriber.time_passes(8)
    await subscriber.agreed(NOTHING, "past_due")

    # Another card, and the invoice is paid.
    await subscriber.gives_card(GOOD_CARD)
    await subscriber.pays_open_invoice()
    await subscriber.agreed(PREMIUM, "active")
    assert await subscriber.charged() == [499, 499, 499]

    # Business, in the middle of a period: what is charged is what was said.
    preview: Any = await subscriber.call(
        "preview_change", subscription=name, price_id="price_business_monthly"
    )
    assert 0 < preview["amount_due"] <= 1499 - 499
    changed: Any = await subscriber.call("change_plan", subscription=name, price_id="price_business_monthly")
    assert (await subscriber.charged())[3:] == [preview["amount_due"]]
    assert changed["plan"] == "business"
    await subscriber.agreed(BUSINESS, "active")

    # Cancelled, taken back, cancelled again, over.
    cancelled: Any = await subscriber.call("cancel_subscription", subscription=name)
    assert cancelled["ends_at"] == cancelled["current_period_end"]
    await subscriber.agreed(BUSINESS, "ending")
    assert (await subscriber.call("resume_subscription", subscription=name))["ends_at"] is None
    await subscriber.agreed(BUSINESS, "active")
    await subscriber.call("cancel_subscription", subscription=name)
    await subscriber.agreed(BUSINESS, "ending")
    await subscriber.time_passes(32)
    await subscriber.agreed(NOTHING, "canceled")

    async def ended() -> bool:
        """In hub mode the router locks by its own clock, maybe before the hub has the event."""
        return bool((await subscriber.subscription())["status"] == "canceled")

    await subscriber.world.wait_until(ended)

    # Another one, which ends at once: the lock names it, whichever id is the smaller one.
    await subscriber.buy("price_premium_monthly")
    await subscriber.agreed(PREMIUM, "active")
    second = subscriber.in_uci()["source"]
    assert second != name
    await subscriber.call("cancel_subscription", subscription=second, at_period_end=False)
    await subscriber.agreed(NOTHING, "canceled")
    assert subscriber.in_uci()["source"] == second
    assert subscriber.observer.listeners()["remote_backup_daily"][-1]["source"] == second

    # Every flip was delivered once, and every payment is in the history with its document.
    assert subscriber.flips("remote_backup_daily") == ["unlock", "lock"] * 3
    assert subscriber.flips("monitoring_24_7") == ["unlock", "lock"]
    charged = sorted(await subscriber.charged())

    async def recorded() -> bool:
        """Webhooks that come in another order are still being worked on when the features agree."""
        listed = (await subscriber.call("transactions"))["transactions"]
        paid = sorted(row["amount"] for row in listed if row["status"] == "paid")
        return paid == charged and all(row["invoice_pdf"] and row["receipt_url"] for row in listed)

    await subscriber.world.wait_until(recorded)


@pytest.mark.direct_only("what is kept is the simulation of `make demo`, which sells directly")
async def test_a_kept_world_goes_on_at_the_time_it_had(tmp_path: Path) -> None:
    """The demo with STATE: a year is skipped, everything stops, and is started again."""
    async with World(state=tmp_path, webhooks=False) as world:
        subscriber = Subscriber(world, sees_webhooks=False)
        await subscriber.buy("price_premium_yearly")
        await subscriber.agreed(PREMIUM, "active")
        await subscriber.time_passes(400)
        await subscriber.agreed(PREMIUM, "active")
        before = (await subscriber.call("status"))["now"]
    async with World(state=tmp_path, webhooks=False) as world:
        subscriber = Subscriber(world, sees_webhooks=False)
        await subscriber.call("sync")
        status = await subscriber.call("status")
        assert status["clock"] == "trusted"
        assert status["now"] >= before
        assert await world.unlocked("remote_backup_daily")
