"""Whatever happens to a customer, and whatever becomes of the events about it: one poll, and the features are
those of somebody who saw everything in order; never is something locked that is paid, nor unlocked that is
not.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stripe_payments.clock import TrustedClock
from stripe_payments.entitlements import Entitlement
from stripe_payments.i18n import Title
from stripe_payments.identity import Identity
from stripe_payments.ledger import Ledger
from stripe_payments.settings import Feature, Plan, Price, Product, Settings
from stripe_payments.sync import Poller, Reconciler
from tests.unit.stripe_payments.sync.histories import CUSTOMER, PLANS, PRODUCT, ROUTER, Model, Stripe

NOTHING = Title("", "")
SETTINGS = Settings(
    plans={name: Plan(name, NOTHING, NOTHING, features) for name, (_, _, features) in PLANS.items()},
    products={"once": Product("once", NOTHING, NOTHING, PRODUCT[2])},
    prices={
        "small_m": Price("small_m", "small", PLANS["small"][0], PLANS["small"][1], "eur", "month"),
        "large_m": Price("large_m", "large", PLANS["large"][0], PLANS["large"][1], "eur", "month"),
        "once_1": Price("once_1", "once", PRODUCT[0], PRODUCT[1], "eur", None),
    },
    features={name: Feature(name, NOTHING, NOTHING) for name in ("a", "b")},
)

VERBS = (
    *("buy", "settle_debit", "refund", "refund_fails", "dispute", "dispute"),
    *("subscribe", "renew", "renew", "pay_up", "give_up", "cancel", "keep", "pause", "change"),
    *("wait", "wait"),
)
COMMANDS = st.tuples(st.sampled_from(VERBS), st.integers(0, 5), st.integers(0, 11))
FATES = ("now", "later", "lost", "twice", "late answer")


_IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a sync to disk costs nothing: thousands of transactions are written here."""


class _Identity:
    """As `IdentityStore`, for a router that is a customer."""

    def load(self) -> Identity:
        return Identity(router_id=ROUTER, customer=CUSTOMER)

    def set_customer(self, customer: str | None) -> None:
        raise AssertionError(f"the customer does not change to {customer}")


@dataclass
class Router:
    """The real reconciler and poller over a real ledger; only the network is not there."""

    ledger: Ledger
    stripe: Stripe
    reconciler: Reconciler
    poller: Poller

    @classmethod
    async def open(cls, folder: Path, model: Model) -> Router:
        ledger = await Ledger.open(folder / "ledger.db")
        clock = TrustedClock(None, monotonic=lambda: 0.0)
        stripe = Stripe(model, clock)
        api, identity = cast("Any", stripe), cast("Any", _Identity())
        reconciler = Reconciler(ledger, api, clock, lambda: SETTINGS, identity, lambda: None)
        await reconciler.rebuilt()
        poller = Poller(ledger, reconciler, api, lambda: SETTINGS, identity, clock, chance=Random(1))
        return cls(ledger, stripe, reconciler, poller)

    async def ask_late(self, object_id: str) -> tuple[asyncio.Event, asyncio.Task[Any]]:
        """A sync whose first answer has left Stripe, and comes in when the event is set."""
        self.stripe.held = []
        sync = asyncio.create_task(self.reconciler.sync(object_id, "event"))
        while not self.stripe.held:
            await asyncio.sleep(0)
        (answer,), self.stripe.held = self.stripe.held, None
        return answer, sync

    async def features(self) -> dict[str, Entitlement]:
        await self.reconciler.recompute()
        return await self.ledger.read(lambda tx: tx.features.all())

    async def unlocked(self) -> set[str]:
        return {name for name, held in (await self.features()).items() if held.unlocked}


async def in_order(folder: Path, commands: list[tuple[str, int, int]]) -> dict[str, Entitlement]:
    """Every event comes at once, and once; the router is right after each of them."""
    model = Model(SETTINGS.grace_days)
    router = await Router.open(folder, model)
    try:
        for command in commands:
            for object_id in model.apply(command):
                await router.reconciler.sync(object_id, "event")
            await router.stripe.retrieve("")  # time passes here as it does there
            assert await router.unlocked() == model.paid_for(), command
        return await router.features()
    finally:
        await router.ledger.close()


async def in_chaos(
    folder: Path,
    commands: list[tuple[str, int, int]],
    fates: list[str],
    *,
    seed: int,
    after_poll: bool,
) -> dict[str, Entitlement]:
    """Events are late, doubled, lost or answered late; then one poll."""
    chance = Random(seed)
    model = Model(SETTINGS.grace_days)
    router = await Router.open(folder, model)
    later: list[str] = []
    late: list[tuple[asyncio.Event, asyncio.Task[Any]]] = []
    count = 0

    async def arrive() -> None:
        """The answers that were sent long ago come in now."""
        while late:
            answer, sync = late.pop()
            answer.set()
            await sync

    try:
        for command in commands:
            for object_id in model.apply(command):
                fate = fates[count % len(fates)]
                count += 1
                if fate in ("now", "twice"):
                    await router.reconciler.sync(object_id, "event")
                if fate in ("later", "twice"):
                    later.append(object_id)
                if fate == "late answer":
                    late.append(await router.ask_late(object_id))
            if later and chance.random() < 0.3:
                await router.reconciler.sync(later.pop(chance.randrange(len(later))), "event")
            if chance.random() < 0.2:
                await arrive()
        chance.shuffle(later)
        for object_id in later:
            await router.reconciler.sync(object_id, "event")
        if not after_poll:
            await arrive()
        await router.poller.poll_everything()
        await arrive()
        await router.stripe.retrieve("")
        assert await router.unlocked() == model.paid_for()
        return await router.features()
    finally:
        await arrive()
        await router.ledger.close()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    commands=st.lists(COMMANDS, min_size=1, max_size=14),
    fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=12),
    seed=st.integers(0, 2**16),
    after_poll=st.booleans(),
)
@example(
    commands=[("subscribe", 1, 1), ("refund", 0, 1), ("renew", 0, 1)],
    fates=["lost"],
    seed=0,
    after_poll=False,
)
@example(
    commands=[("subscribe", 1, 1), ("dispute", 0, 0), ("dispute", 0, 1)],
    fates=["lost"],
    seed=0,
    after_poll=False,
)
@example(
    commands=[("buy", 0, 0), ("dispute", 0, 0), ("dispute", 0, 1)],
    fates=["late answer"],
    seed=9,
    after_poll=True,
)
@example(
    commands=[("subscribe", 0, 1), ("renew", 0, 0), ("wait", 0, 8), ("renew", 0, 0)],
    fates=["twice", "lost"],
    seed=4,
    after_poll=True,
)
@example(
    commands=[("subscribe", 0, 1), ("renew", 0, 0), ("pay_up", 0, 1), ("refund", 0, 1), ("refund", 1, 1)],
    fates=["lost"],
    seed=1,
    after_poll=False,
)
@example(
    commands=[("buy", 0, 0), ("dispute", 0, 0), ("dispute", 0, 1), ("dispute", 0, 0), ("dispute", 0, 0)],
    fates=["now", "now", "now", "lost", "lost"],
    seed=2,
    after_poll=False,
)
@example(
    commands=[
        ("subscribe", 0, 1),
        ("dispute", 0, 0),
        ("dispute", 0, 1),
        ("dispute", 0, 0),
        ("dispute", 0, 0),
    ],
    fates=["now", "now", "now", "now", "now", "lost", "lost"],
    seed=2,
    after_poll=False,
)
@example(
    commands=[("buy", 0, 0), ("refund", 0, 1), ("refund_fails", 0, 1)],
    fates=["lost"],
    seed=3,
    after_poll=False,
)
def test_one_poll_and_all_is_as_if_nothing_had_gone_wrong(
    commands: list[tuple[str, int, int]], fates: list[str], seed: int, after_poll: bool
) -> None:
    async def both() -> None:
        with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as folder:
            expected = await in_order(Path(folder) / "order", commands)
            got = await in_chaos(Path(folder) / "chaos", commands, fates, seed=seed, after_poll=after_poll)
            assert got == expected

    asyncio.run(both())


@pytest.mark.parametrize("verb", sorted(set(VERBS)))
def test_every_command_of_the_model_does_something(verb: str) -> None:
    """A model whose commands are all refused would prove nothing."""
    ready = {
        "settle_debit": [("buy", 0, 2)],
        "refund": [("buy", 0, 0)],
        "refund_fails": [("buy", 0, 0), ("refund", 0, 1)],
        "dispute": [("buy", 0, 0)],
        "renew": [("subscribe", 0, 1)],
        "pay_up": [("subscribe", 0, 1), ("renew", 0, 0)],
        "give_up": [("subscribe", 0, 1), ("renew", 0, 0)],
        "cancel": [("subscribe", 0, 1)],
        "keep": [("subscribe", 0, 1), ("cancel", 0, 1)],
        "pause": [("subscribe", 0, 1)],
        "change": [("subscribe", 0, 1)],
    }
    model = Model(7)
    for command in ready.get(verb, []):
        assert model.apply(command)
    before = model.now
    assert model.apply((verb, 0, 1)) or model.now > before + DAY_OF_WAITING


DAY_OF_WAITING = 86_000
