"""The three calls with which an unlock leaves the daemon: UCI through rpcd's helper, hotplug, ubus events."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from stripe_payments.entitlements import Entitlement
from stripe_payments.log import Log
from stripe_payments.unlocks.uci_features import as_option_values, storable
from ubus_py import Encodable, Status, StatusError, Table, UsageError, Value

__all__ = ["Bus", "RouterBus"]

_log = Log("unlocks")

_HELPER: Final = "stripe-payments.uci"
_HOTPLUG: Final = "hotplug.stripe-payments"
_TIMEOUT_S: Final = 30.0
_HOTPLUG_ATTEMPTS: Final = 8
"""procd publishes the object only where /etc/hotplug.d/stripe-payments exists: without it no script waits for
the call.
"""


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
        self._hotplug_failures = 0

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
            self._hotplug_failures += 1
            if error.status is not Status.NOT_FOUND or self._hotplug_failures < _HOTPLUG_ATTEMPTS:
                raise
            _log.warning("no hotplug object, scripts not run", feature=feature)
        else:
            self._hotplug_failures = 0

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
