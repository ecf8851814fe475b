"""The fault campaign's short form: a trial or two of each line, always the same. `make faults` is all."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from campaigns.faults.campaign import CONTROL, FaultCampaign
from campaigns.faults.control import MISTAKES, Mistake
from campaigns.faults.disturbance_lines import DISTURBANCE_LINES
from campaigns.faults.flash import Plan
from campaigns.faults.storage_lines import STORAGE_LINES
from campaigns.faults.trial import Trial

SEED = 7
EARLY = 50
"""Every scenario here has more write points than that."""


@pytest.fixture(scope="session")
def pasts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pasts")


@pytest.fixture
def campaign(pasts: Path, tmp_path: Path) -> FaultCampaign:
    return FaultCampaign(pasts, jobs=4, seed=SEED, kept=tmp_path)


async def survived(campaign: FaultCampaign, trials: Iterable[Trial]) -> None:
    """A failure says with which arguments `python -m campaigns.faults` repeats it."""
    tried = list(trials)
    results = await asyncio.gather(*map(campaign.run, tried))
    assert [
        f"{trial}: {result.failure}" for trial, result in zip(tried, results, strict=True) if result.failure
    ] == []
    assert [str(trial) for trial, result in zip(tried, results, strict=True) if not result.met] == []


async def test_storage(campaign: FaultCampaign) -> None:
    """What each line does, at a point of a scenario that chance chose."""
    chance = Random(SEED)
    faults = [(line.name, *fault) for line in STORAGE_LINES for fault in line.faults]
    trials = []
    for line, fault, third in faults:
        at = chance.randrange(1, EARLY)
        scenario = chance.choice(("purchase", "failed renewal", "refund"))
        seed = 2 * at + third if fault in ("power", "torn") and third is not None else third
        trials.append(Trial(line, scenario, at, (Plan(fault, at, seed),)))
    await survived(campaign, trials)


async def test_surroundings_and_damage(campaign: FaultCampaign) -> None:
    """One disturbance of each line, around the payment of a one-time purchase."""
    chance = Random(SEED)
    await survived(
        campaign,
        (
            Trial(line.name, "purchase", SEED, (), chance.choice(line.disturbances), chance.choice((1, 2)))
            for line in DISTURBANCE_LINES
            if line.name != "slow"
        ),
    )


async def test_the_campaign_notices_daemons_that_are_wrong(campaign: FaultCampaign) -> None:
    (mistake,) = (one for one in MISTAKES if one.name == "believes any JSON")
    await campaign.control([replace(mistake, disturbances=mistake.disturbances[-1:])])
    (line,) = campaign.report.lines
    assert (line.name, line.tried, line.failures) == (CONTROL, 1, [])


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_every_deliberate_mistake_can_still_be_made(mistake: Mistake, tmp_path: Path) -> None:
    """The text that it replaces is there: otherwise `make faults` would find out, after an hour."""
    assert mistake.daemon(tmp_path).is_dir()
