"""Entitlements as the sections of UCI `stripe-features`, and back.

``config feature NAME`` with ``unlocked`` 0 or 1, ``source``, ``plan``, ``until`` (RFC 3339 UTC), ``reason``;
an empty option is absent.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from stripe_payments.entitlements import Entitlement
from stripe_payments.rfc3339 import format_time, parse_time
from ubus_py import Value

__all__ = ["as_option_values", "differing", "from_sections", "storable"]

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
OPTIONS: Final = ("source", "plan", "until", "reason")
# What an option may hold; the helper in rpcd refuses more, and a hotplug script is a root shell.
_UNFIT = re.compile(r"[^A-Za-z0-9_.:@+-]")
_LONGEST: Final = 128


def storable(feature: str) -> bool:
    """Whether a feature's name can be the name of a UCI section."""
    return _NAME.fullmatch(feature) is not None


def as_option_values(entitlement: Entitlement) -> dict[str, Value]:
    """One feature as ``stripe-payments.uci store`` wants it; only characters that are safe in a shell's
    variable.
    """
    until = format_time(entitlement.until) if entitlement.until is not None else ""
    return {
        "unlocked": entitlement.unlocked,
        "source": _fit(entitlement.source),
        "plan": _fit(entitlement.plan),
        "until": until,
        "reason": _fit(entitlement.reason),
    }


def from_sections(sections: Mapping[str, Value]) -> dict[str, Entitlement]:
    """The entitlements that ``stripe-payments.uci load`` shows under ``features``."""
    found: dict[str, Entitlement] = {}
    for name, section in sections.items():
        if not isinstance(section, Mapping) or section.get(".type") != "feature" or not storable(name):
            continue
        text = {option: value for option, value in section.items() if isinstance(value, str)}
        found[name] = Entitlement(
            name,
            unlocked=text.get("unlocked") == "1",
            source=text.get("source", ""),
            plan=text.get("plan", ""),
            until=parse_time(text.get("until", "")),
            reason=text.get("reason", "none"),
        )
    return found


def differing(wanted: Iterable[Entitlement], sections: Mapping[str, Value]) -> list[Entitlement]:
    """Those whose section is missing or says something else."""
    differing = []
    for entitlement in wanted:
        if not storable(entitlement.feature):
            continue
        section = sections.get(entitlement.feature)
        options = as_option_values(entitlement)
        if not (
            isinstance(section, Mapping)
            and section.get("unlocked") == ("1" if entitlement.unlocked else "0")
            and all(section.get(option, "") == options[option] for option in OPTIONS)
        ):
            differing.append(entitlement)
    return differing


def out_of_date(
    held: Mapping[str, Entitlement], sections: Mapping[str, Value], *, fresh: bool
) -> list[Entitlement]:
    """What UCI must be changed to: `held` where it differs, and locked what is unlocked there alone.

    A `fresh` ledger does not know yet what was bought, and locks nothing.
    """
    wanted = list(held.values())
    if not fresh:
        in_uci = from_sections(sections)
        wanted += [Entitlement(name) for name, one in in_uci.items() if one.unlocked and name not in held]
    return differing(wanted, sections)


def _fit(value: str) -> str:
    return _UNFIT.sub("_", value)[:_LONGEST]
