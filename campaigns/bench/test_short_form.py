"""The short form of `make bench`: what is no timing is asked for here as well, and the report says it."""

import json
from pathlib import Path

from campaigns.bench import report, start_and_memory


async def test_the_memory_of_a_daemon_stays_within_its_goals(tmp_path: Path) -> None:
    measured = await start_and_memory.measure(tmp_path / "worlds")
    said: list[str] = []
    report.write(measured, tmp_path / "bench.json", said.append)
    written = json.loads((tmp_path / "bench.json").read_text())

    assert set(written) == {"start to registered", "memory, idle", "memory, after the first Stripe call"}
    for name, line in written.items():
        assert {"value", "unit", "goal", "baseline", "ok"} <= set(line)
        assert any(row.startswith(name) for row in "\n".join(said).splitlines())
    assert written["memory, idle"]["ok"] is True
    assert written["memory, after the first Stripe call"]["ok"] is True
    assert 0 < written["memory, idle"]["value"] < written["memory, after the first Stripe call"]["value"]


def test_a_goal_that_is_missed_is_said_to_be() -> None:
    at_most, times = report.Goal("<=", 10), report.Goal(">=", 4, of_baseline=True)
    assert report.Measurement("x", 10.1, "ms", at_most).ok is False
    assert report.Measurement("x", 10.0, "ms", at_most).ok is True
    assert report.Measurement("x", 39.0, "1/s", times, 10.0).ok is False
    assert report.Measurement("x", 40.0, "1/s", times, 10.0).ok is True
    assert report.Measurement("x", 40.0, "1/s", times).ok is None
