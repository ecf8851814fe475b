"""Any history of a customer, and any fate of the events about it: after one poll, every feature is what
docs/states.md says, as for a router that saw everything at once and in order.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stripe_payments.stripe_api import object_kind
from stripe_payments.sync.fetch import FOLLOWED
from tests.histories.life import COMMANDS, DAY, VERBS, Command, Life
from tests.histories.observer import Observer, decisions
from tests.histories.reference import Decision, plans_of
from tests.histories.router import IN_MEMORY, Router

COMMAND = st.tuples(st.sampled_from(VERBS), st.integers(0, 5), st.integers(0, 11))
FATES = ("now", "later", "lost", "twice", "late answer")


def after_everything(commands: Sequence[Command]) -> tuple[Life, dict[str, Decision]]:
    """The life, and what a router that saw each event at once decides at its end; it agrees with the
    documentation after each command.
    """
    life = Life(0)
    observer = Observer(life)
    seen: dict[str, Decision] = {}
    for command in commands:
        life.apply(command)
        seen = decisions(observer.observe())
        assert seen == life.expected(), command
    return life, seen


async def in_chaos(
    folder: Path, commands: Sequence[Command], fates: Sequence[str], *, seed: int, after_poll: bool
) -> dict[str, Decision]:
    """Events are late, doubled, lost or answered late; then one poll."""
    chance = Random(seed)
    life = Life(0)
    router = await Router.open(folder, life)
    later: list[str] = []
    late: list[tuple[asyncio.Event, asyncio.Task[Any]]] = []
    count = 0

    async def arrive() -> None:
        """The responses that were sent long ago arrive now."""
        while late:
            answer, sync = late.pop()
            answer.set()
            await sync

    try:
        for command in commands:
            life.apply(command)
            for object_id in _named_by_events(life):
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
        return await router.features()
    finally:
        await arrive()
        await router.close()


def _named_by_events(life: Life) -> list[str]:
    """The objects that a command's events name, each once, of the kinds that lead to something."""
    named = [object_id for object_id in dict.fromkeys(life.seen) if object_kind(object_id) in FOLLOWED]
    life.seen.clear()
    return named


def commands_of(text: str) -> list[Command]:
    """`subscribe 0 2, wait 0 3` as commands."""
    parts = [part.rsplit(" ", 2) for part in text.split(", ")]
    return [(verb, int(which), int(how)) for verb, which, how in parts]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    commands=st.lists(COMMAND, min_size=1, max_size=14),
    fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=12),
    seed=st.integers(0, 2**16),
    after_poll=st.booleans(),
)
@example(commands_of("subscribe 1 0, refund 0 1, wait 0 7"), ["lost"], 0, False)
@example(commands_of("subscribe 1 0, dispute 0 0, dispute 0 1"), ["lost"], 0, False)
@example(commands_of("buy 0 0, dispute 0 0, dispute 0 1"), ["late answer"], 9, True)
@example(commands_of("subscribe 0 10, wait 0 7, wait 0 10, wait 0 7"), ["twice", "lost"], 4, True)
@example(commands_of("subscribe 0 10, wait 0 7, pay up 0 5, pay up 0 1, refund 0 1"), ["lost"], 1, False)
@example(
    commands_of("buy 0 0, dispute 0 0, dispute 0 1, dispute 0 0, dispute 0 0"),
    ["now", "now", "now", "lost", "lost"],
    2,
    False,
)
@example(commands_of("buy 0 0, refund 0 1, refund fails 0 1"), ["lost"], 3, False)
@example(commands_of("subscribe 0 5, wait 0 3"), ["lost", "later"], 5, False)
@example(commands_of("send invoice 0 1, wait 0 4, wait 0 3"), ["lost"], 6, False)
def test_after_one_poll_everything_is_as_if_nothing_had_gone_wrong(
    commands: list[Command], fates: list[str], seed: int, after_poll: bool
) -> None:
    life, expected = after_everything(commands)
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        got = asyncio.run(in_chaos(Path(folder), commands, fates, seed=seed, after_poll=after_poll))
    assert got == expected == life.expected()


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        # a renewal that customer credit paid ends what was owed before it: grace restarts
        ("send invoice 1 0, wait 0 5, credit 0 3, wait 0 6, wait 0 6", "grace"),
        # credit that the merchant gave is not that of the downgrade whose payment was lost
        (
            "subscribe 1 0, wait 0 5, change 0 0, wait 0 6, wait 0 7, credit 0 3, wait 0 7, dispute 0 0, "
            "dispute 0 1",
            "active",
        ),
        # an invoice in the customer's favour is no payment, and no new beginning of what is owed
        ("subscribe 1 0, card 0 1, wait 0 5, quantity 0 1, wait 0 0, quantity 0 0", "grace"),
    ],
)
def test_what_long_histories_found(history: str, reason: str) -> None:
    _, seen = after_everything(commands_of(history))
    assert seen["a"][1] == reason


def kinds_of(life: Life) -> set[str]:
    """The kinds of situations that a life has had up to now, of those that are easily forgotten."""
    found = {f"dispute {one['status']}" for one in life.rows("dispute")}
    found |= {f"refund {one['status']}" for one in life.rows("refund")}
    found |= {f"plan {one['status']}" for one in life.rows("subscription")}
    found |= {f"schedule {one['status']}" for one in life.rows("subscription_schedule")}
    found |= {f"payment {one['status']}" for one in life.rows("payment_intent")}
    found |= {f"invoice {one['status']}" for one in life.rows("invoice")}
    for refund in life.rows("refund"):
        charge = life.account.get("charge", refund["charge"])
        found.add("refund in part" if refund["amount"] < charge["amount"] else "refund in full")
    for dispute in life.rows("dispute"):
        charge = life.account.get("charge", dispute["charge"])
        if dispute["amount"] < charge["amount"]:
            found.add("dispute in part")
    for schedule in life.rows("subscription_schedule"):
        if len(schedule["phases"]) > 1 and schedule["status"] == "released":
            found.add("schedule changed the plan")
    for sub in life.rows("subscription"):
        found |= {"pause_collection"} if sub["pause_collection"] else set()
        found |= {"second item"} if len(sub["items"]["data"]) > 1 else set()
        found |= {"quantity"} if sub["items"]["data"][0]["quantity"] > 1 else set()
        found |= {"discount"} if sub["discounts"] else set()
        found |= {"pending update"} if sub["pending_update"] else set()
        found |= {"by invoice"} if sub["collection_method"] == "send_invoice" else set()
    for invoice in life.rows("invoice"):
        paid = [one for one in life.rows("invoice_payment") if one["invoice"] == invoice["id"]]
        found |= {"several payments"} if sum(one["status"] == "paid" for one in paid) > 1 else set()
        found |= {f"paid by {one['payment']['type']}" for one in paid if one["status"] == "paid"}
        found |= {"credit"} if (invoice["starting_balance"] or 0) < 0 else set()
    for note in life.rows("credit_note"):
        found |= {"credit note before payment"} if note["pre_payment_amount"] else set()
        found |= {"credit note refunded"} if note["refunds"] else set()
        found |= {"credit note as credit"} if note["customer_balance_transaction"] else set()
        found |= {"credit note out of band"} if note["out_of_band_amount"] else set()
    plans = plans_of(life.account, life.unlocks, life.options)
    return found | {f"upgrade {plan.wanting}" for plan, _ in plans if plan.wanting}


KINDS = {
    *("dispute needs_response", "dispute won", "dispute lost", "dispute appeal_under_review"),
    *("dispute prevented", "dispute in part", "refund succeeded", "refund failed", "refund in part"),
    *("refund in full", "plan active", "plan trialing", "plan past_due", "plan unpaid", "plan paused"),
    *("plan incomplete", "plan incomplete_expired", "plan canceled", "schedule active", "schedule released"),
    *("schedule changed the plan", "payment processing", "payment succeeded", "invoice open", "invoice paid"),
    *("invoice void", "invoice uncollectible", "pause_collection", "second item", "quantity", "discount"),
    *("pending update", "by invoice", "several payments", "credit", "upgrade pending", "upgrade unpaid"),
    *("credit note before payment", "credit note refunded", "credit note as credit"),
    *("credit note out of band", "paid by payment_intent", "paid by payment_record"),
}


def test_the_histories_have_every_kind_of_situation() -> None:
    """A property that holds for lives without bank debits says nothing about bank debits."""
    found: set[str] = set()
    for seed in range(60):
        chance, life = Random(seed), Life(seed)
        for _ in range(40):
            life.apply((chance.choice(VERBS), chance.randrange(6), chance.randrange(12)))
            found |= kinds_of(life)
        if found >= KINDS:
            return
    assert found >= KINDS, f"never: {sorted(KINDS - found)}"


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_every_command_does_something(verb: str) -> None:
    """A life whose commands are all refused would prove nothing."""
    ready = {
        "refund": "buy 0 0",
        "refund fails": "buy 0 0, refund 0 1",
        "dispute": "buy 0 0",
        "pay up": "subscribe 0 10, wait 0 7, wait 0 0",
        "cancel": "subscribe 0 0",
        "keep": "subscribe 0 0, cancel 0 1",
        "pause": "subscribe 0 0",
        "schedule": "subscribe 0 0",
        "change": "subscribe 0 0",
        "upgrade": "subscribe 0 0",
        "second item": "subscribe 0 0",
        "quantity": "subscribe 0 0",
        "coupon": "subscribe 0 0",
        "credit note": "subscribe 0 0",
    }
    life = Life(1)
    for command in commands_of(ready[verb]) if verb in ready else []:
        assert life.apply(command)
    before = dict(life.account.settings)
    assert life.apply((verb, 0, 1)) or life.account.settings != before


def test_the_days_of_waiting_cross_every_boundary() -> None:
    life = Life(1)
    start = life.now
    life.apply(("wait", 0, 7))
    assert life.now - start > 30 * DAY
