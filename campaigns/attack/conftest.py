"""The short form of the campaign: every line, with few trials and no time of its own."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from campaigns.attack.trials import Trials
from campaigns.report import Line

Short = Callable[[Callable[[Trials], Awaitable[None]], int], Awaitable[None]]


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Short:
    """Runs one line with so many trials; whatever harmed fails the test, with how to repeat it."""

    async def run(attack: Callable[[Trials], Awaitable[None]], count: int) -> None:
        line = Line(getattr(attack, "__name__", "attack"), "")
        seed = int(os.environ.get("ATTACK_SEED", "1"))
        folder = tmp_path / "line"
        folder.mkdir()
        await attack(Trials(line, folder, count=count, seed=seed))
        assert line.tried > 0
        assert line.failures == []

    monkeypatch.chdir(tmp_path)  # inputs that harm are written below the folder that one is in
    return run
