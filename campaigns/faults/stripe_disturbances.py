"""Stripe, or whatever is in its place, answers slowly, wrongly, or not at all."""

from dataclasses import dataclass
from typing import Any

from campaigns.faults.disturbance import Disturbance
from campaigns.faults.router_under_test import RouterUnderTest
from simulator.stripe_cloud.mangling import MANGLED

__all__ = [
    "ANSWERS_LOST",
    "DATES_AHEAD",
    "DATES_BEHIND",
    "NONSENSE",
    "REFUSALS",
    "SLOW",
    "STORED",
    "StripeFault",
]

DAY = 86_400
_PORTAL = "<!doctype html><title>Hotel Wi-Fi</title><form>Please log in</form>"


@dataclass
class StripeFault(Disturbance):
    """`rule`: as the simulator's `faults` describes it."""

    name: str
    rule: dict[str, Any]
    hold_s: float = 1.0

    async def begin(self, router: RouterUnderTest) -> None:
        router.world.stripe.faults.configure({"rules": [self.rule]})

    async def end(self, router: RouterUnderTest) -> None:
        router.world.stripe.faults.configure({"rules": []})


SLOW = (
    StripeFault("2 s late", {"latency_ms": 2000}, 3.0),
    StripeFault("40 s late, once", {"latency_ms": 40_000, "count": 1}, 2.0),
)
REFUSALS = (
    StripeFault("429", {"status": 429}),
    StripeFault("429, Retry-After 2", {"status": 429, "retry_after": 2}),
    StripeFault("500", {"status": 500}),
    StripeFault("503, Retry-After 1", {"status": 503, "retry_after": 1}),
    StripeFault("500 to what was done", {"status": 500, "when": "after"}),
)
STORED = (
    StripeFault("500 under the key", {"status": 500, "stored": True}),
    StripeFault("500 under the key of what was done", {"status": 500, "stored": True, "when": "after"}),
)
ANSWERS_LOST = (
    StripeFault("dropped before", {"drop_connection": True}),
    StripeFault("dropped after", {"drop_connection": True, "when": "after"}),
    StripeFault("truncated", {"truncate": True, "when": "after"}),
)
NONSENSE = (
    StripeFault("a portal's page", {"body": _PORTAL}),
    StripeFault("a portal's page to what was done", {"body": _PORTAL, "when": "after"}),
    StripeFault("a proxy's 502 page", {"body": "<h1>Bad Gateway</h1>", "status": 502}),
    StripeFault("an empty body", {"body": "", "content_type": "application/json"}),
    *(StripeFault(f"JSON: {how}", {"mangle": how}) for how in MANGLED),
)
DATES_AHEAD = (StripeFault("400 days ahead", {"date_ahead": 400 * DAY}),)
DATES_BEHIND = (
    StripeFault("400 days behind", {"date_ahead": -400 * DAY}),
    StripeFault("1970", {"date_ahead": -50 * 365 * DAY}),
)
