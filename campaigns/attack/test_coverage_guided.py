"""That Atheris runs each of its targets, where it is installed."""

import pytest

from campaigns.attack import coverage_guided, whole_inputs
from campaigns.attack.conftest import Short


def test_every_target_has_a_judge() -> None:
    assert set(coverage_guided.TARGETS) == set(whole_inputs.JUDGES)


@pytest.mark.skipif(coverage_guided.available() is not None, reason=str(coverage_guided.available()))
async def test_one_target(short: Short) -> None:
    await short(coverage_guided.coverage_guided, 1)
