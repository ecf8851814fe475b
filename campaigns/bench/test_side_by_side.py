"""What `make bench` compares with needs the repository's history."""

from pathlib import Path

import pytest

from campaigns.bench import side_by_side
from campaigns.bench.campaign import measured
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
