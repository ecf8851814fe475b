"""The short form of every campaign, as `python -m campaigns NAME --short` runs it."""

from pathlib import Path

import pytest

from campaigns.__main__ import NAMES, load
from campaigns.report import Report
from campaigns.runner import Part, run_part

PARTS = [(name, part) for name in NAMES for part in load(name).short_parts()]


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One folder for all parts, and for all workers: what takes long to prepare is prepared once."""
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "campaigns"


@pytest.mark.parametrize(
    ("campaign", "part"),
    [
        pytest.param(
            name,
            part,
            id=f"{name}-{part.name}",
            marks=[pytest.mark.timeout(part.timeout_s), *([pytest.mark.browser] if part.browser else [])],
        )
        for name, part in PARTS
    ],
)
async def test_short_form(
    campaign: str, part: Part, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (reason := part.missing()) is not None:
        pytest.skip(reason)
    shared = scratch / campaign / "shared"
    shared.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)  # inputs that do harm are written below the current folder
    report = Report()
    said: list[str] = []
    await run_part(part, report, said.append, shared)
    assert [(row.name, row.failures) for row in report.rows if row.failures] == [], "\n".join(said)
    assert [row for row in report.rows if row.ok is False or row.reason] == []
    assert report.rows


def test_every_campaign_has_a_short_form() -> None:
    assert {name for name, _ in PARTS} == set(NAMES)


def test_the_names_that_only_accepts_are_those_of_the_parts() -> None:
    for name in NAMES:
        assert len(set(load(name).names())) == len(load(name).names()) > 0
