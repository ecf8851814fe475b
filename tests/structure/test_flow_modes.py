"""Every flow of a buyer is tested in direct mode, in hub mode, and in hub mode with lost webhooks."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tests.flows.modes import MODES

REPOSITORY = Path(__file__).resolve().parents[2]

FLOWS = {
    "purchase": ("one_time_purchase", "paying_unlocks_everywhere_whatever_becomes_of_the_webhooks"),
    "subscription's life": ("subscription_life", "from_the_first_payment_to_the_end"),
    "change": ("unusual_payments", "the_next_payment_that_is_shown_before_a_change_is_the_one_that_comes"),
    "cancel": ("two_routers", "each_has_its_own_purchases"),
    "resume": ("subscription_life", "from_the_first_payment_to_the_end"),
    "debit": ("one_time_purchase", "a_bank_debit_is_pending_until_it_settles"),
    "debit that fails": ("unusual_payments", "a_bank_debit_that_fails_never_unlocks"),
    "refund": ("one_time_purchase", "a_full_refund_locks_and_a_partial_one_does_not"),
    "refund of a plan": ("unusual_payments", "a_plan_that_is_refunded_in_full_locks"),
    "dispute": ("one_time_purchase", "a_dispute_locks_only_when_it_is_lost"),
    "dispute of a plan": ("unusual_payments", "a_dispute_about_a_plan_locks_when_it_is_lost"),
}
"""With a test of each; where it lies and its name, without `test_`."""


def _collected(*options: str) -> dict[str, set[str]]:
    """The parameters of each test of tests/flows, by the test's id without them."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", *options, "tests/flows"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, set[str]] = defaultdict(set)
    for line in done.stdout.splitlines():
        if "::" in line:
            test, _bracket, parameters = line.removesuffix("]").partition("[")
            found[test].add(parameters)
    return found


def _modes(parameters: set[str]) -> set[str]:
    """`hub-without-webhooks-drop` is of the mode ``hub-without-webhooks``, not of ``hub``."""
    found: set[str] = set()
    for one in parameters:
        mode = max((name for name in MODES if f"-{name}-" in f"-{one}-"), key=len, default=None)
        found.update({mode} if mode is not None else ())
    return found


def test_every_flow_runs_in_three_modes() -> None:
    collected = _collected("-m", "not direct_only")
    modes = {test: _modes(parameters) for test, parameters in collected.items()}
    for flow, (file, name) in FLOWS.items():
        assert modes[f"tests/flows/test_{file}.py::test_{name}"] == set(MODES), flow
    of_the_hub_alone = {"hub", "hub-without-webhooks"}
    for test, found in modes.items():
        assert found in (set(MODES), of_the_hub_alone), test
