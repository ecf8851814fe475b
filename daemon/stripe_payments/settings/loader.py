"""The settings as rpcd hands them out, held for everybody who asks.

The daemon may not read UCI through rpcd's `uci` object (that would be a right to every secret on the
router); the small helper `stripe-payments.uci` gives it its own two configurations.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from stripe_payments.i18n import Text
from stripe_payments.log import Log
from stripe_payments.settings import Problem, Settings
from ubus_py import CallTimeout, Client, ConnectionLost, ProtocolError, Status, StatusError, Table

_log = Log("settings")

_FIRST_DELAY_S: Final = 0.1
_LONGEST_DELAY_S: Final = 5.0
_TIMEOUT_S: Final = 10.0
_ATTEMPTS_TO_READ: Final = 4

_MALFORMED: Final = Problem(
    "",
    "",
    Text(
        "/etc/config/stripe-payments is malformed and cannot be read: “uci show stripe-payments” tells where;"
        " correct it, then reload the service.",
        "/etc/config/stripe-payments è malformato e non si può leggere: “uci show stripe-payments” dice dove;"
        " correggilo, poi ricarica il servizio.",
    ),
)


class Configuration:
    """`current` is what was loaded last; the shipped defaults before that."""

    def __init__(self, bus: Client) -> None:
        self._bus = bus
        self.current: Settings = Settings.DEFAULTS

    async def load(self) -> None:
        """Read the settings, trying until rpcd is there.

        Those of a file that cannot be read stay what they were, with a problem noted.
        """
        answer = await self._ask()
        if answer is None:
            loaded = replace(self.current, problems=(_MALFORMED,))
        else:
            loaded = Settings.from_uci(sections_of(answer.get("settings")))
        before, self.current = self.current, loaded
        if loaded != before:
            for problem in loaded.problems:
                _log.warning(
                    "a setting is wrong",
                    section=problem.section,
                    option=problem.option,
                    problem=problem.text.en,
                )

    async def _ask(self) -> Table | None:
        """The helper's answer; None where it keeps failing to read the file."""
        delay = _FIRST_DELAY_S
        told = False
        unread = 0
        while True:
            try:
                return await self._bus.call("stripe-payments.uci", "load", {}, timeout=_TIMEOUT_S)
            except (StatusError, ConnectionLost, CallTimeout, ProtocolError) as error:
                if isinstance(error, StatusError) and error.status is Status.UNKNOWN_ERROR:
                    unread += 1
                    if unread == _ATTEMPTS_TO_READ:
                        return None
                # At boot rpcd comes later than we do; it also goes away for a moment whenever it is
                # restarted.
                if not told:
                    _log.info("waiting for rpcd to hand out the settings", reason=error)
                    told = True
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY_S)


def sections_of(given: object) -> dict[str, Table]:
    """The sections in an answer of the helper's; what is none is left out."""
    if not isinstance(given, dict):
        return {}
    return {name: section for name, section in given.items() if isinstance(section, dict)}
