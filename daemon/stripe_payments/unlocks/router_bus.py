"""How an unlock leaves the daemon: UCI `stripe-features` through rpcd's helper, hotplug scripts, ubus events.

In UCI: ``config feature NAME`` with ``unlocked`` 0 or 1, ``source``, ``plan``, ``until`` (RFC 3339 UTC),
``reason``; an empty option is absent.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from stripe_payments.entitlements import Entitlement
from stripe_payments.log import Log
from stripe_payments.rfc3339 import format_time, parse_time
from ubus_py import Encodable, Status, StatusError, Table, UsageError, Value

__all__ = ["Bus", "RouterBus", "as_option_values", "differing", "from_sections", "out_of_date", "storable"]

_log = Log("unlocks")

_HELPER: Final = "stripe-payments.uci"
_HOTPLUG: Final = "hotplug.stripe-payments"
_TIMEOUT_S: Final = 8.0
"""ubusd does not say that the process which was called has ended. rpcd and procd reply within milliseconds,
and what is repeated is what the first call would have done.
"""
_HOTPLUG_MISSING_S: Final = 10.0
"""procd publishes the object only where /etc/hotplug.d/stripe-payments exists: where it is missing for longer
than procd or ubusd may be away, no script waits for the call. Not a number of attempts: each commit is one.
"""

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
OPTIONS: Final = ("source", "plan", "until", "reason")
# What an option may hold; the helper in rpcd refuses more, and a hotplug script is a root shell.
_UNFIT = re.compile(r"[^A-Za-z0-9_.:@+-]")
_LONGEST: Final = 128


class Bus(Protocol):
    """What is needed of the bus; `ubus_py.Client` has it."""

    async def call(
        self,
        object: str,  # noqa: A002
        method: str,
        args: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Table:
        """Call a method."""
        ...

    async def send(self, name: str, data: Mapping[str, Encodable] | None = None) -> None:
        """Send an event."""
        ...


class RouterBus:
    """All methods raise `ubus_py.UbusError` where the other side is not available."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._in_uci: dict[str, dict[str, Value]] = {}
        """The options of every feature, as far as known to be in UCI."""
        self._hotplug_missing_since: float | None = None

    async def load_uci(self) -> Mapping[str, Value]:
        """The sections of UCI `stripe-features`, by feature."""
        reply = await self._bus.call(_HELPER, "load", {}, timeout=_TIMEOUT_S)
        features = reply.get("features")
        return features if isinstance(features, dict) else {}

    def cache_uci(self, entitlements: Sequence[Entitlement]) -> None:
        """These have been read from UCI: `store_uci` need not write them."""
        self._in_uci = {held.feature: as_option_values(held) for held in entitlements}

    async def store_uci(self, entitlements: Sequence[Entitlement]) -> set[str]:
        """Write those that differ from UCI, all in one commit; return the names that the helper refuses for
        good.
        """
        features: dict[str, dict[str, Value]] = {
            held.feature: values
            for held in entitlements
            if storable(held.feature) and (values := as_option_values(held)) != self._in_uci.get(held.feature)
        }
        if not features:
            return set()
        for name in features:  # unknown until the reply has come
            self._in_uci.pop(name, None)
        try:
            await self._bus.call(_HELPER, "store", {"features": features}, timeout=_TIMEOUT_S)
        except StatusError as error:
            if error.status is not Status.INVALID_ARGUMENT:
                raise
            if len(features) == 1:
                return set(features)
            # One that is refused must not hold up the others.
            refused: set[str] = set()
            for held in entitlements:
                refused |= await self.store_uci([held])
            return refused
        self._in_uci.update(features)
        return set()

    async def run_scripts(self, payload: Mapping[str, Value]) -> None:
        """Have procd run /etc/hotplug.d/stripe-payments/* for a feature that was unlocked or locked. procd
        replies before the scripts have ended.
        """
        feature, until = str(payload["feature"]), payload.get("until")
        values = as_option_values(
            Entitlement(
                feature,
                source=str(payload.get("source", "")),
                plan=str(payload.get("plan", "")),
                until=until if isinstance(until, int) else None,
            )
        )
        environment: list[Value] = [
            f"ACTION={'unlock' if payload['unlocked'] else 'lock'}",
            f"FEATURE={feature}",
            f"SOURCE={values['source']}",
            f"PLAN={values['plan']}",
            f"UNTIL={values['until']}",
        ]
        try:
            await self._bus.call(_HOTPLUG, "call", {"env": environment}, timeout=_TIMEOUT_S)
        except StatusError as error:
            if error.status is not Status.NOT_FOUND:
                raise
            now = time.monotonic()
            if self._hotplug_missing_since is None:
                self._hotplug_missing_since = now
            if now - self._hotplug_missing_since < _HOTPLUG_MISSING_S:
                raise
            _log.warning("no hotplug object, scripts not run", feature=feature)
        else:
            self._hotplug_missing_since = None

    async def send_event(self, kind: str, payload: Mapping[str, Value]) -> None:
        """Send ``stripe-payments.KIND``; of a feature only the members that are documented."""
        data = payload
        if kind == "feature":
            data = {name: payload[name] for name in ("feature", "unlocked", "source", "reason")}
        event = f"stripe-payments.{kind}"
        try:
            await self._bus.send(event, {name: value for name, value in data.items() if value is not None})
        except UsageError as error:  # a retry would fail in the same way
            _log.error("event cannot be sent", event=event, exc=error)


# -- features as sections of UCI -------------------------------------------------------------------


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
