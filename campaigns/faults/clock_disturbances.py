"""The router's wall clock jumps by years, either way, while the daemon runs, and stays where it is."""

from dataclasses import dataclass

from campaigns.faults.disturbance import Disturbance
from campaigns.faults.router_under_test import RouterUnderTest

__all__ = ["CLOCK_JUMPS"]

YEAR = 365 * 86_400


@dataclass
class ClockJump(Disturbance):
    """`seconds` ahead from the step on; `back`: and right again after a second, as NTP does it."""

    name: str
    seconds: int
    back: bool = False
    hold_s: float = 1.0

    async def begin(self, router: RouterUnderTest) -> None:
        router.flash.set_clock_ahead(self.seconds)

    async def end(self, router: RouterUnderTest) -> None:
        if self.back:
            router.flash.set_clock_ahead(0)


CLOCK_JUMPS = (
    ClockJump("10 years ahead", 10 * YEAR),
    ClockJump("10 years behind", -10 * YEAR),
    ClockJump("1970, then right", -55 * YEAR, back=True),
    ClockJump("a year ahead, then right", YEAR, back=True),
)
