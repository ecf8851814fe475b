"""What `make bench` compares with needs the repository's history, and a machine that is not too busy."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from campaigns.bench import side_by_side
from campaigns.bench.campaign import measured
from campaigns.report import Row
from campaigns.runner import run


async def test_without_the_older_commit_its_row_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "COMMIT", "0123456789")
    report = await run(
        [measured("side-by-side", side_by_side.measure)], lambda said: None, tmp_path / "scratch"
    )
    (row,) = report.rows
    assert (row.value, row.ok) == (None, None)
    assert "0123456789" in row.reason


async def test_a_figure_that_was_not_ready_in_time_is_a_row_that_says_so() -> None:
    async def rows() -> AsyncIterator[Row]:
        yield Row("first", 1.0)
        raise TimeoutError

    first, second = [row async for row in side_by_side.timeouts_as_row("second", rows())]
    assert (first.name, first.value) == ("first", 1.0)
    assert (second.name, second.value, second.ok) == ("second", None, None)
    assert "too busy" in second.reason
