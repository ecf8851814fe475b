"""A router without a clock of its own, and without the internet for a week.

The shipped daemon runs with a wall clock that says 1970, and a monotonic one that can be pushed a week ahead:
a module that Python loads at its start replaces both clocks of the process, which finds nothing else changed.
"""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.daemon_process import REPOSITORY
from simulator.stripe_cloud.billing import subscriptions
from simulator.world import World
from stripe_payments.rfc3339 import parse_time
from tests.flows.subscriber import DAY, PREMIUM, Subscriber

pytestmark = pytest.mark.direct_only(
    "the clock and its floor are the same code; what locks without the hub is in hub_client/test_hub_state.py"
)

NOTHING: frozenset[str] = frozenset()
CLOCKS = f"""
import os, signal, time

if os.path.exists(os.path.join(os.path.dirname(__file__), "in-1970")):
    began, ahead, monotonic = time.monotonic(), [0.0], time.monotonic
    time.monotonic = lambda: monotonic() + ahead[0]
    time.time = lambda: 30.0 + time.monotonic() - began
    time.time_ns = lambda: int(time.time() * 1e9)

    def a_week_passes(*_):
        ahead[0] += {7 * DAY}
        note("weeks", ahead[0] // {7 * DAY})

    def note(name, value):
        with open(os.path.join(os.path.dirname(__file__), name), "w") as file:
            file.write(str(int(value)))

    signal.signal(signal.SIGUSR1, a_week_passes)
    note("says", time.time())
    note("weeks", 0)
"""


@pytest.fixture
async def subscriber(tmp_path: Path) -> AsyncIterator[Subscriber]:
    """With a monthly plan, and both clocks right."""
    (tmp_path / "clocks").mkdir()
    (tmp_path / "clocks/sitecustomize.py").write_text(CLOCKS)
    path = f"{tmp_path / 'clocks'}{os.pathsep}{REPOSITORY / 'daemon'}"
    async with World(state=tmp_path / "world", environment={"PYTHONPATH": path}) as world:
        subscriber = Subscriber(world)
        await subscriber.buy("price_premium_monthly")
        await subscriber.agreed(PREMIUM, "active")
        yield subscriber


async def boot_in_1970(subscriber: Subscriber, tmp_path: Path, *, wan: bool = False) -> None:
    world = subscriber.world
    await world.daemon.stop()
    (tmp_path / "clocks/in-1970").touch()
    if not wan:
        await world.control("faults", {"drop_connection": True, "webhooks": "drop"})
    await world.daemon.start()
    await world.daemon_answers()
    assert int((tmp_path / "clocks/says").read_text()) < DAY, "the daemon runs in 1970"


async def a_week_passes(subscriber: Subscriber, tmp_path: Path) -> None:
    """For the router and for Stripe."""
    pid = subscriber.world.daemon.pid
    assert pid is not None
    weeks = tmp_path / "clocks/weeks"
    before = weeks.read_text()
    os.kill(pid, signal.SIGUSR1)

    async def passed() -> bool:
        return weeks.read_text() not in (before, "")

    await subscriber.world.wait_until(passed)  # signals that come too soon after each other are one
    await subscriber.world.control("clock/advance", {"seconds": 7 * DAY})


async def stripe_is_reachable(subscriber: Subscriber) -> None:
    """The WAN is back, and the hotplug script has a sync done."""
    await subscriber.world.control("faults", {})
    await subscriber.call("sync")


async def test_it_keeps_its_features_and_is_right_again_within_one_round(
    subscriber: Subscriber, tmp_path: Path
) -> None:
    world = subscriber.world
    await boot_in_1970(subscriber, tmp_path)
    status = await subscriber.call("status")
    assert (status["clock"], status["now"]) == ("untrusted", None)
    await subscriber.agreed(PREMIUM, "active")
    await a_week_passes(subscriber, tmp_path)
    assert await subscriber.refusal("sync") == "stripe_unreachable"
    await subscriber.agreed(PREMIUM, "active")
    assert subscriber.flips("remote_backup_daily") == ["unlock"]

    await stripe_is_reachable(subscriber)
    status = await subscriber.call("status")
    assert status["clock"] == "trusted"
    assert abs(world.stripe.clock.now() - _epoch(status["now"])) <= 5
    await subscriber.agreed(PREMIUM, "active")
    assert subscriber.flips("remote_backup_daily") == ["unlock"]
    # And a webhook, signed at the true time, is accepted: by a router whose own clock still says 1970.
    await subscriber.call("cancel_subscription", subscription=(await subscriber.subscription())["id"])
    await subscriber.time_passes(31)
    await subscriber.agreed(NOTHING, "canceled")


async def test_what_ended_meanwhile_locks_once_the_time_is_known(
    subscriber: Subscriber, tmp_path: Path
) -> None:
    await subscriber.call("cancel_subscription", subscription=(await subscriber.subscription())["id"])
    await subscriber.agreed(PREMIUM, "ending")
    await subscriber.time_passes(28)
    await subscriber.call("sync")
    await boot_in_1970(subscriber, tmp_path)
    await a_week_passes(subscriber, tmp_path)
    assert await subscriber.refusal("sync") == "stripe_unreachable"
    await subscriber.agreed(PREMIUM, "ending")  # its end has passed, but the router cannot know
    await stripe_is_reachable(subscriber)
    await subscriber.agreed(NOTHING, "canceled")


async def test_a_webhook_that_comes_before_the_time_is_known_is_not_lost(
    subscriber: Subscriber, tmp_path: Path
) -> None:
    world = subscriber.world
    await boot_in_1970(subscriber, tmp_path)
    await world.control("faults", {"drop_connection": True, "webhooks": "on"})
    seen = len(world.stripe.deliveries())
    name = (await subscriber.subscription())["id"]
    # The plan is ended in Stripe's Dashboard: the router gets the event, and cannot verify it.
    subscriptions.cancel(world.stripe.account, world.stripe.account.get("subscription", name), {})

    async def refused() -> bool:
        tried = world.stripe.deliveries()[seen:]
        return any(attempt["status"] == 503 for one in tried for attempt in one["attempts"])

    await world.wait_until(refused)
    await subscriber.agreed(PREMIUM, "active")
    await stripe_is_reachable(subscriber)
    await subscriber.agreed(NOTHING, "canceled")


async def test_after_many_weeks_without_a_word_from_stripe_it_locks_and_comes_back(
    subscriber: Subscriber, tmp_path: Path
) -> None:
    world = subscriber.world
    await boot_in_1970(subscriber, tmp_path, wan=True)
    await subscriber.call("sync")
    await world.control("faults", {"drop_connection": True, "webhooks": "drop"})
    for _ in range(8):  # the period, and all but a few of the offline_days after it
        await a_week_passes(subscriber, tmp_path)
    await subscriber.agreed(PREMIUM, "active")
    await a_week_passes(subscriber, tmp_path)
    await subscriber.agreed(NOTHING, "offline")
    await stripe_is_reachable(subscriber)
    await subscriber.agreed(PREMIUM, "active")


def _epoch(text: str) -> int:
    parsed = parse_time(text)
    assert parsed is not None
    return parsed
