"""The table of a campaign: what it says, and that it cannot look better than it is."""

import json
from pathlib import Path

from campaigns.report import Campaign


def test_counts_and_failures_are_said_and_written(tmp_path: Path) -> None:
    campaign = Campaign("survived")
    line = campaign.line("power cut", "the plug is pulled")
    for failure in (None, "point 7: the feature stayed locked", None):
        line.note(failure)
    said: list[str] = []
    campaign.write(tmp_path / "build/faults.json", said.append)
    assert json.loads((tmp_path / "build/faults.json").read_text()) == {
        "power cut": {
            "what": "the plug is pulled",
            "tried": 3,
            "survived": 2,
            "ok": False,
            "failures": ["point 7: the feature stayed locked"],
        }
    }
    table = "\n".join(said)
    assert "FAILED" in table
    assert "point 7: the feature stayed locked" in table
    assert not campaign.ok


def test_what_was_never_tried_is_not_ok() -> None:
    campaign = Campaign("held")
    assert not campaign.ok
    campaign.line("forged webhooks", "").note(None)
    assert campaign.ok
    campaign.line("floods", "")
    assert not campaign.ok


def test_what_cannot_be_tried_here_is_told_with_its_reason(tmp_path: Path) -> None:
    campaign = Campaign("held")
    campaign.line("forged webhooks", "").note(None)
    campaign.leave_out("real uhttpd", "floods", "not run: no OpenWrt stack")
    said: list[str] = []
    campaign.write(tmp_path / "attack.json", said.append)
    told = json.loads((tmp_path / "attack.json").read_text())
    assert told["real uhttpd"] == {"what": "floods", "not_run": "not run: no OpenWrt stack"}
    assert "not run: no OpenWrt stack" in "\n".join(said)
    assert campaign.ok
