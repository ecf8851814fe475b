"""Random lives of ten years: at every step each feature is what docs/states.md says, and what a change of
plan costs is what the router said before.
"""

from __future__ import annotations

import asyncio
import copy
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, Final

from campaigns.report import Goal, Report, Row
from campaigns.runner import Say
from stripe_payments.errors import PaymentError
from stripe_payments.rfc3339 import format_time
from tests.histories.life import DAY, PLAN_PRICES, VERBS, WAITS, Command, Life
from tests.histories.observer import Observer, decisions
from tests.histories.reference import Options
from tests.histories.router import IN_MEMORY, Router

__all__ = ["ten_years"]

YEARS: Final = 10
CHANGE: Final = "change"
POLLED_EVERY: Final = 8
"""Steps. Lists have the newest twenty: a router that was away for years does not see what is older."""
_VERBS: Final = (*VERBS, *("wait",) * 12)


@dataclass
class Outcome:
    """What one life came to. `failure`: the first difference, with how to repeat it; `did`: how often which
    command did something; `reasons`: how often each was decided; `quoted`: changes that were charged as
    previewed.
    """

    failure: str | None = None
    steps: int = 0
    quoted: int = 0
    did: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class _Decade:
    """One life, seen by a router that gets each event at once, and by one that polls when it is used."""

    def __init__(self, seed: int, days: int) -> None:
        self.chance = Random(seed)
        self.life = Life(seed, Options(lock_paused=seed % 5 == 4, trust_pending_debits=seed % 7 == 3))
        self.until = self.life.now + days * DAY
        self.observer = Observer(self.life)
        self.outcome = Outcome()

    async def live(self) -> Outcome:
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            router = await Router.open(Path(folder), self.life)
            try:
                while self.life.now < self.until and self.outcome.failure is None:
                    command = (
                        self.chance.choice(_VERBS),
                        self.chance.randrange(6),
                        self.chance.randrange(12),
                    )
                    problem = await self._step(router, command)
                    if problem is not None:
                        self.outcome.failure = f"step {self.outcome.steps}, {command}: {problem}"
                    self.outcome.steps += 1
                    if self.outcome.steps % POLLED_EVERY == 0:
                        await router.poller.poll_everything()
                await router.poller.poll_everything()
                if self.outcome.failure is None and (got := await router.features()) != self.life.expected():
                    self.outcome.failure = f"after a poll at the end: {got} instead of {self.life.expected()}"
            finally:
                await router.close()
        return self.outcome

    async def _step(self, router: Router, command: Command) -> str | None:
        if command[0] == CHANGE and command[2] % 2:
            problem = await self._change(router, *command[1:])
            if problem is not None:
                return problem
        elif command[0] == "wait":
            return self._wait(WAITS[command[2] % len(WAITS)])
        elif self.life.apply(command):
            self.outcome.did[command[0]] += 1
        return self._compare()

    def _wait(self, days: int) -> str | None:
        """In four parts: what is due happens in between as well."""
        self.outcome.did["wait"] += 1
        for _ in range(4):
            self.life.cloud.advance(days * DAY / 4)
            if (problem := self._compare()) is not None:
                return problem
        return None

    def _compare(self) -> str | None:
        got, expected = decisions(self.observer.observe()), self.life.expected()
        self.outcome.reasons.update(reason for _, reason, _ in expected.values())
        return None if got == expected else f"{got} instead of {expected}"

    async def _change(self, router: Router, which: int, how: int) -> str | None:
        """A change of plan by the router itself: previewed, then made."""
        sub = self.life.pick(self.life.running("active", "trialing"), which)
        if sub is None:
            return None
        self.life.cloud.advance(61)
        alias = PLAN_PRICES[how % len(PLAN_PRICES)]
        before, balance = self.life.charged(), self._balance()
        try:
            said = await router.subscriptions.preview_change(sub["id"], alias)
            changed = await router.subscriptions.change_plan(sub["id"], alias)
        except PaymentError as error:
            refused = error.code in ("not_changeable", "payment_failed")
            return None if refused and self.life.charged() == before else f"refused: {error.code}"
        self.outcome.did["change by the router"] += 1
        taken = sum(self.life.charged()[len(before) :])
        if changed["pending_change"] or changed["price"] != alias:
            return f"charged {taken} for a change that was not made" if taken else None
        debit = any(one["status"] == "processing" for one in self.life.rows("payment_intent")[-1:])
        if taken != said["amount_due"] and not (debit and not taken):
            return f"charged {taken}, said {said['amount_due']}"
        if said["credit"] and balance - self._balance() != said["credit"]:
            return f"credited {balance - self._balance()}, said {said['credit']}"
        self.outcome.quoted += 1
        return self._next_payment(sub["id"], said["next_payment"])

    def _next_payment(self, sub_id: str, said: Mapping[str, Any] | None) -> str | None:
        """The next payment shown, against what happens if nothing more is done. With a second plan the
        renewal that comes first takes the customer's credit: it cannot be known then.
        """
        if len(self.life.running()) > 1:
            return None
        future = copy.deepcopy(self.life)
        end = future.account.get("subscription", sub_id)["items"]["data"][0]["current_period_end"]
        known = {invoice["id"] for invoice in future.rows("invoice")}
        future.cloud.advance(end + 7200 - future.now)
        due = [
            (format_time(end), invoice["amount_due"])
            for invoice in future.rows("invoice")
            if invoice["id"] not in known
            and invoice["parent"]["subscription_details"]["subscription"] == sub_id
            and invoice["billing_reason"] == "subscription_cycle"
        ]
        shown = [(said["date"], said["amount"])] if said else []
        return None if shown == due else f"next payment {due}, shown {shown}"

    def _balance(self) -> int:
        return int(self.life.account.get("customer", self.life.customer)["balance"])


def _live(seed: int, days: int) -> Outcome:
    return asyncio.run(_Decade(seed, days).live())


async def ten_years(report: Report, say: Say, seeds: range) -> None:
    """Add a row of how many lives held, and rows of how much happened in them."""
    tally = report.tally("lives", f"of {YEARS} years, each step as docs/states.md says")
    did: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    steps = quoted = 0
    async for seed, outcome in _all(seeds):
        tally.count(None if outcome.failure is None else f"seed {seed}: {outcome.failure}")
        did, reasons = did + outcome.did, reasons + outcome.reasons
        steps, quoted = steps + outcome.steps, quoted + outcome.quoted
        if outcome.failure is not None:
            say(f"seed {seed}: {outcome.failure}")
    report.add(
        Row("steps", steps, "", Goal(">=", 100 * len(seeds))),
        Row("changes of plan charged as previewed", quoted, "", Goal(">=", len(seeds))),
        Row("verbs that did something", len(did), "", Goal(">=", len(set(VERBS)) - 2)),
        Row("reasons that were decided", len(reasons), "", Goal(">=", 10)),
    )


async def _all(seeds: range) -> AsyncIterator[tuple[int, Outcome]]:
    """Many at a time on all cores, few one after the other."""
    days = YEARS * 365
    if len(seeds) < 10:
        for seed in seeds:
            yield seed, await _Decade(seed, days).live()
        return
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        lives = {seed: loop.run_in_executor(pool, _live, seed, days) for seed in seeds}
        for seed, life in lives.items():
            yield seed, await life
