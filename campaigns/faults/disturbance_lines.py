"""The lines of the campaign about all that is not storage: each disturbance at each step of each scenario."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from campaigns.faults.case import Case
from campaigns.faults.clock_disturbances import CLOCK_JUMPS
from campaigns.faults.damage import FOUND_AT_START, FOUND_WHILE_RUNNING, IDENTITY
from campaigns.faults.device_disturbances import DEVICE_DISTURBANCES
from campaigns.faults.disturbance import ROUTER_DISTURBANCES, BusAway, Disturbance, RpcdAway
from campaigns.faults.line_disturbances import LINE_DISTURBANCES
from campaigns.faults.scenarios import SCENARIOS
from campaigns.faults.stripe_disturbances import (
    ANSWERS_LOST,
    DATES_AHEAD,
    DATES_BEHIND,
    NONSENSE,
    REFUSALS,
    SLOW,
    STORED,
)

__all__ = ["DISTURBANCE_LINES"]


@dataclass(frozen=True)
class DisturbanceLine:
    """`scenarios`: the names of those that it is tried with."""

    name: str
    what: str
    disturbances: tuple[Disturbance, ...]
    scenarios: tuple[str, ...] = tuple(SCENARIOS)

    def cases(self, points: Mapping[str, int], seed: int) -> Iterator[Case]:
        """All of them; `points` is of no interest here."""
        del points
        number = 0
        for scenario in self.scenarios:
            for step in range(len(SCENARIOS[scenario].steps) + 1):
                for disturbance in self.disturbances:
                    number += 1
                    yield Case(self.name, scenario, 1000 * seed + number, (), disturbance, step)


_WITHOUT_SET_UP = tuple(name for name in SCENARIOS if name != "set-up")

_OF_THE_DEVICE = tuple(one for one in DEVICE_DISTURBANCES if not isinstance(one, BusAway | RpcdAway))

DISTURBANCE_LINES = (
    DisturbanceLine(
        "ledger", "the ledger or its log is damaged, found at the start", FOUND_AT_START, _WITHOUT_SET_UP
    ),
    DisturbanceLine(
        "ledger-live",
        "the ledger or its log is damaged under the running daemon",
        FOUND_WHILE_RUNNING,
        _WITHOUT_SET_UP,
    ),
    DisturbanceLine("identity", "identity.json is damaged or gone", IDENTITY, _WITHOUT_SET_UP),
    DisturbanceLine("router", "ubusd or rpcd away, a LuCI apply pending or rolled back", ROUTER_DISTURBANCES),
    DisturbanceLine(
        "device-steps",
        "full or read-only storage, other writers of UCI, restarts, slow scripts and clients, at every step",
        _OF_THE_DEVICE,
    ),
    DisturbanceLine("slow", "Stripe answers late, or after the caller has given up", SLOW),
    DisturbanceLine("refused", "Stripe answers 429 or 5xx, with and without Retry-After", REFUSALS),
    DisturbanceLine(
        "stored", "Stripe keeps a 500 under the idempotency key, and replays it for a day", STORED
    ),
    DisturbanceLine(
        "lost", "Stripe's answers are cut off, before or after what was asked is done", ANSWERS_LOST
    ),
    DisturbanceLine("nonsense", "Stripe's answers are pages, or JSON of the wrong shape", NONSENSE),
    DisturbanceLine(
        "line",
        "no name server, connection refused, wrong certificates, certificates and the clock",
        LINE_DISTURBANCES,
    ),
    DisturbanceLine("clock", "the router's wall clock jumps by years, both ways", CLOCK_JUMPS),
    DisturbanceLine("date-behind", "Stripe's Date header says an earlier year, or 1970", DATES_BEHIND),
    DisturbanceLine(
        "date-ahead",
        "Stripe's Date header says next year (of no plan in grace, which that ends for up to an hour)",
        DATES_AHEAD,
        tuple(name for name in SCENARIOS if name != "failed renewal"),
    ),
)
