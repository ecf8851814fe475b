"""The three ways in which a flow test runs, from one source.

``direct``: the router holds the Stripe key. ``hub``: the vendor's hub holds it, and Stripe delivers events to
the hub. ``hub-without-webhooks``: no delivery reaches the hub, whose sweep of events finds everything.

Every test below tests/flows runs in all three, unless it is marked ``direct_only(reason)`` or lists its modes
itself; a test that does neither, and has no fixture that depends on the mode, is refused at collection.
"""

from typing import Final, Literal, TypeVar

import pytest

__all__ = ["DELIVERIES", "MODES", "Mode", "modes_of", "shared"]

_T = TypeVar("_T")

Mode = Literal["direct", "hub", "hub-without-webhooks"]

MODES: Final[tuple[Mode, ...]] = ("direct", "hub", "hub-without-webhooks")

DELIVERIES: Final[tuple[tuple[Mode, str], ...]] = (
    ("direct", "on"),
    ("direct", "drop"),
    ("direct", "duplicate"),
    ("direct", "reorder"),
    ("hub", "on"),
    ("hub", "duplicate"),
    ("hub", "reorder"),
    ("hub-without-webhooks", "drop"),
)
"""With what may happen to deliveries on their way, for a test of it."""


def shared(*values: _T) -> list[tuple[Mode, _T]]:
    """For values that say when or where something happens: all in direct mode, and the two ways of hub mode
    take turns.
    """
    turns = [(MODES[1 + number % 2], value) for number, value in enumerate(values)]
    return [*((MODES[0], value) for value in values), *turns]


def modes_of(metafunc: pytest.Metafunc) -> tuple[Mode, ...]:
    """The modes to run a test in; empty if it lists them itself. Fails for a test without a mode."""
    marker = metafunc.definition.get_closest_marker("direct_only")
    if marker is not None:
        (reason,) = marker.args
        assert reason
        return ("direct",)
    if "mode" not in metafunc.fixturenames:
        pytest.fail(
            f"{metafunc.definition.nodeid} runs in no mode: use `make_world`, or mark it direct_only(reason)",
            pytrace=False,
        )
    listed = [one.args[0] for one in metafunc.definition.iter_markers("parametrize")]
    return () if any(names == "mode" or "mode" in names for names in listed) else MODES
