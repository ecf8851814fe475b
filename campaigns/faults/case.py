"""One case: a scenario, the trouble that it meets, and whether everything is right afterwards."""

import asyncio
import copy
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

from campaigns.faults.disturbance import Disturbance
from campaigns.faults.flash import Plan
from campaigns.faults.outcome import Leniency, comes_right, files_are_whole, left_over
from campaigns.faults.pasts import Pasts
from campaigns.faults.router_under_test import DAEMON, PATIENCE_S, NotRightError, RouterUnderTest
from campaigns.faults.scenarios import SCENARIOS

__all__ = ["Case", "Result", "run"]

LONGEST_S = 900.0
"""A case that takes longer hangs; a single wait in it gives up long before."""


@dataclass(frozen=True)
class Case:
    """`plans`: what the storage does to the first process, the second, …; `disturbance` happens around the
    step of that index (one beyond the last: after all of them).
    """

    line: str
    scenario: str
    seed: int = 0
    plans: tuple[Plan, ...] = ()
    disturbance: Disturbance | None = None
    step: int = 0

    def __str__(self) -> str:
        """The arguments with which the command line repeats it."""
        words = ["--only", self.line, "--scenario", self.scenario, "--seed", str(self.seed)]
        for plan in self.plans:
            words += ["--plan", str(plan)]
        if self.disturbance is not None:
            words += ["--disturbance", self.disturbance.name, "--step", str(self.step)]
        return shlex.join(words)


@dataclass(frozen=True)
class Result:
    """`met`: whether the trouble came about at all; `points`: how many write points there were; `failure`:
    what was wrong, None if nothing was; `log`: the daemon's, of a case that failed.
    """

    met: bool
    points: int
    failure: str | None
    log: str


async def run(case: Case, pasts: Pasts, *, daemon: Path = DAEMON, patience_s: float = PATIENCE_S) -> Result:
    """Never raises: a failure is the case's result. `daemon`, `patience_s`: as of `RouterUnderTest`."""
    kind = SCENARIOS[case.scenario]
    disturbance = copy.copy(case.disturbance)
    folder = Path(tempfile.mkdtemp(prefix="case-"))
    router = RouterUnderTest(
        folder / "world",
        await pasts.get(kind.past, seasoned=disturbance is not None and disturbance.wants_history),
        *case.plans,
        webhooks=Random(case.seed).choice(kind.webhooks) if disturbance is None and case.plans else "on",
        seed=case.seed,
        daemon=daemon,
        patience_s=patience_s,
        before=disturbance.before if disturbance is not None else None,
    )
    failure: str | None = None
    try:
        async with asyncio.timeout(LONGEST_S), router:
            await _live_through(case, router, disturbance)
    except NotRightError as wrong:
        failure = str(wrong)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other cases go on
        failure = f"{type(error).__name__}: {error}"
    finally:
        if disturbance is not None:
            await disturbance.close()
    hit = router.hit
    if failure is not None and hit is not None:
        failure = f"{failure} [{hit}]"
    result = Result(
        met=disturbance is not None or not case.plans or hit is not None,
        points=len(router.flash.points()),
        failure=failure,
        log=router.world.daemon.log_text() if failure is not None else "",
    )
    shutil.rmtree(folder, ignore_errors=True)
    return result


async def _live_through(case: Case, router: RouterUnderTest, disturbance: Disturbance | None) -> None:
    scenario = SCENARIOS[case.scenario](router)
    if disturbance is not None:
        await router.insist("status")
    for step in range(len(scenario.steps) + 1):
        last = step == len(scenario.steps)
        if disturbance is not None and step == case.step:
            await disturbance.begin(router)
            doing = asyncio.ensure_future(_nothing() if last else scenario.do(step))
            try:
                await asyncio.sleep(disturbance.hold_s)
            finally:
                await disturbance.end(router)
            await doing
        elif not last:
            await scenario.do(step)
    leniency = Leniency(
        events_missed=disturbance is not None and disturbance.events_may_be_missed,
        answers_lost=disturbance is not None and disturbance.answers_may_be_lost,
        damaged=disturbance is not None and disturbance.damages,
    )
    await comes_right(router, scenario.after, leniency)
    if leniency.damaged:  # what has not been found by now is found at the next start
        await router.kill_daemon()
        await comes_right(router, scenario.after, leniency)
    await router.stop_daemon()
    if leniency.damaged and left_over(router):  # stopped during the rebuild: the next start delivers it
        await router.start_daemon_again()
        await comes_right(router, scenario.after, leniency)
        await router.stop_daemon()
    files_are_whole(router, leniency)


async def _nothing() -> None:
    """What happens after the last step."""
