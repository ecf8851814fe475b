"""The table and JSON of every campaign, and that neither can look better than the result is."""

import json
from pathlib import Path

import pytest

from campaigns.report import Goal, NotMeasured, Report, Row
from campaigns.runner import Part, Say, Scratch, run

KEYS = {
    "value",
    "unit",
    "goal",
    "baseline",
    "baseline_is",
    "ratio",
    "ok",
    "what",
    "failures",
    "reason",
}


def written(report: Report, folder: Path) -> tuple[dict[str, dict[str, object]], str]:
    """The JSON and the table."""
    said: list[str] = []
    report.write(folder / "build/report.json", said.append)
    return json.loads((folder / "build/report.json").read_text()), "\n".join(said)


def test_a_goal_that_is_missed_is_shown() -> None:
    at_most, times = Goal("<=", 10), Goal(">=", 4, of_baseline=True)
    assert Row("x", 10.1, "ms", at_most).ok is False
    assert Row("x", 10.0, "ms", at_most).ok is True
    assert Row("x", 39.0, "1/s", times, 10.0).ok is False
    assert Row("x", 40.0, "1/s", times, 10.0).ok is True
    assert Row("x", 40.0, "1/s", times).ok is None
    assert Row("x", reason="no such program").ok is None


def test_counts_and_failures_are_printed_and_written(tmp_path: Path) -> None:
    report = Report()
    tally = report.tally("power cut", "the plug is pulled", "survived")
    for failure in (None, "point 7: the feature stayed locked", None):
        tally.count(failure)
    rows, table = written(report, tmp_path)
    assert rows["power cut"].keys() == KEYS
    assert rows["power cut"]["failures"] == ["point 7: the feature stayed locked"]
    assert (rows["power cut"]["value"], rows["power cut"]["unit"]) == (2, "survived")
    assert (rows["power cut"]["baseline"], rows["power cut"]["ok"]) == (3, False)
    assert "FAILED" in table
    assert "point 7: the feature stayed locked" in table
    assert not report.ok


def test_what_was_never_tried_is_not_ok() -> None:
    report = Report()
    assert not report.ok
    report.tally("forged webhooks", "").count(None)
    assert report.ok
    report.tally("floods", "")
    assert not report.ok


def test_figures_stand_beside_their_baseline(tmp_path: Path) -> None:
    report = Report()
    report.add(Row("a call", 690.25, "µs", Goal("<=", 1.15, True), 700.0, "the C binding"))
    rows, table = written(report, tmp_path)
    assert (rows["a call"]["ratio"], rows["a call"]["ok"]) == (0.986, True)
    assert "the C binding: 700 (x 0.99)" in table


async def _breaks(report: Report, scratch: Scratch, say: Say) -> None:
    report.add(Row("measured before", 1.0, "s"))
    raise RuntimeError("the socket is gone")


async def _too_busy(report: Report, scratch: Scratch, say: Say) -> None:
    raise NotMeasured("the machine is too busy")


async def _works(report: Report, scratch: Scratch, say: Say) -> None:
    scratch.own.joinpath("file").write_text(scratch.shared.name)
    report.add(Row("measured after", 2.0, "s"))


async def test_a_part_that_breaks_is_a_row_and_the_others_run(tmp_path: Path) -> None:
    said: list[str] = []
    parts = [
        Part("one", _breaks),
        Part("two", _too_busy, "a figure"),
        Part("three", _works, missing=lambda: "no OpenWrt stack"),
        Part("four", _works),
    ]
    report = await run(parts, said.append, tmp_path / "scratch")
    rows, table = written(report, tmp_path)
    assert list(rows) == ["measured before", "one", "two", "three", "measured after"]
    assert rows["one"]["failures"] == ["the part broke: RuntimeError: the socket is gone"]
    assert (rows["two"]["ok"], rows["two"]["reason"]) == (None, "the machine is too busy")
    assert rows["three"]["reason"] == "no OpenWrt stack"
    assert all(row.keys() == KEYS for row in rows.values())
    assert "not measured" in table
    assert "no OpenWrt stack" in table
    assert "Traceback" in "\n".join(said)
    assert not report.ok


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_an_interrupted_campaign_ends(kind: type[BaseException], tmp_path: Path) -> None:
    async def interrupted(report: Report, scratch: Scratch, say: Say) -> None:
        raise kind

    with pytest.raises(kind):
        await run([Part("one", interrupted)], lambda said: None, tmp_path / "scratch")
