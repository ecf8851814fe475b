"""The deliberate mistakes of `make faults`, checked without running a daemon."""

from pathlib import Path

import pytest

from campaigns.faults.control import MISTAKES, Mistake


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_every_deliberate_mistake_can_still_be_made(mistake: Mistake, tmp_path: Path) -> None:
    """The text that it replaces is there: otherwise `make faults` would find out, after an hour."""
    assert mistake.daemon(tmp_path).is_dir()
