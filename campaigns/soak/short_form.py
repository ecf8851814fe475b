"""The short form of `make soak`: three months of a household, and nothing is left behind."""

from __future__ import annotations

from campaigns.report import Goal, Report, Row
from campaigns.runner import Say, Scratch
from campaigns.soak.run import Soak

__all__ = ["three_months"]

MIB = 2**20


async def three_months(report: Report, scratch: Scratch, say: Say) -> None:
    """After the last month the daemon holds what it held after the one before."""
    soaked = await Soak(scratch.own, say).run(lambda months, _: months >= 1, lambda months, _: months >= 3)
    warm, last = soaked.rests[soaked.warm_rests], soaked.rests[-1]
    done = soaked.done - soaked.done_when_warm
    exactly = {
        "months": ((warm.month, last.month), (2, 3)),
        "descriptors": (last.descriptors, warm.descriptors),
        "threads": (last.threads, warm.threads),
        "left waiting (checkouts, events, effects)": ((last.checkouts, last.events, last.effects), (0, 0, 0)),
        "purchases": (done["purchases"], 2),
        "disputes": (done["disputes"], 1),
        "plan changes": (done["plan changes"], 1),
        "ubusd restarts": (done["ubusd restarts"], 1),
        "rpcd restarts": (soaked.done["rpcd restarts"], 1),
        "responses of the simulator that Stripe's SDK does not know": (soaked.drift, []),
    }
    tally = report.tally("three months", "what happened, and what the daemon holds after each month")
    for name, (found, expected) in exactly.items():
        tally.count(None if found == expected else f"{name}: {found} instead of {expected}")
    tidied = soaked.tidied.size / MIB if soaked.tidied else None
    report.add(
        Row("memory at rest", last.resident / MIB, "MiB", Goal("<=", 55)),
        Row("memory, growth in a month", (last.resident - warm.resident) / MIB, "MiB", Goal("<=", 6)),
        Row("LuCI's requests", soaked.requests["LuCI requests"], "", Goal(">=", 21)),
        Row("malformed requests", soaked.requests["wrong requests"], "", Goal(">=", 6)),
        # A write-ahead log of half a megabyte comes and goes; the purchases take a few dozen kilobytes.
        Row("ledger", soaked.ledger_bytes / MIB, "MiB", Goal("<=", 1)),
        Row("events deleted by retention", soaked.tidied.events if soaked.tidied else 0, "", Goal(">=", 1)),
        Row(
            "ledger after retention",
            tidied,
            "MiB",
            Goal("<=", 0.999, True),
            soaked.ledger_bytes / MIB,
            "before",
        ),
    )
