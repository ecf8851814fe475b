"""The targets of Atheris, which `campaigns/test_short_forms.py` runs where it is installed."""

from campaigns.attack import coverage_guided, whole_inputs


def test_every_target_has_a_checker() -> None:
    assert set(coverage_guided.TARGETS) == set(whole_inputs.CHECKERS)
