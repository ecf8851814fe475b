"""Loads the settings from rpcd and holds the current ones.

The daemon may not read UCI through rpcd's `uci` object (that would grant it every secret on the router); the
small helper `stripe-payments.uci` returns only its own two configurations.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from stripe_payments.backoff import Backoff
from stripe_payments.i18n import _
from stripe_payments.log import Log
from stripe_payments.settings import Problem, Settings, settings_from_uci
from ubus_py import CallTimeout, Client, ConnectionLost, ProtocolError, Status, StatusError, Table

_log = Log("settings")

_FIRST_DELAY_S: Final = 0.1
_LONGEST_DELAY_S: Final = 5.0
_TIMEOUT_S: Final = 10.0
_ATTEMPTS_TO_READ: Final = 4

_MALFORMED: Final = Problem(
    "",
    "",
    _(
        "/etc/config/stripe-payments is malformed: “uci show stripe-payments” shows where; correct it, then "
        "reload the service."
    ),
)


class SettingsLoader:
    """`current`: the settings loaded last; the defaults before the first `load`."""

    def __init__(self, bus: Client) -> None:
        self._bus = bus
        self.current: Settings = Settings.DEFAULTS

    def get(self) -> Settings:
        """`current`, for a part that reads the settings whenever it needs them."""
        return self.current

    async def load(self) -> None:
        """Read the settings, retrying until rpcd answers.

        If the file cannot be parsed, the previous settings stay, with a problem added.
        """
        answer = await self._load()
        if answer is None:
            loaded = replace(self.current, problems=(_MALFORMED,))
        else:
            loaded = settings_from_uci(sections_of(answer.get("settings")))
        before, self.current = self.current, loaded
        if loaded != before:
            for problem in loaded.problems:
                _log.warning(
                    "invalid setting",
                    section=problem.section,
                    option=problem.option,
                    problem=problem.text,
                )

    async def _load(self) -> Table | None:
        """The helper's reply; None where it keeps failing to parse the file."""
        backoff = Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)
        logged = False
        unread = 0
        while True:
            try:
                return await self._bus.call("stripe-payments.uci", "load", {}, timeout=_TIMEOUT_S)
            except (StatusError, ConnectionLost, CallTimeout, ProtocolError) as error:
                if isinstance(error, StatusError) and error.status is Status.UNKNOWN_ERROR:
                    unread += 1
                    if unread == _ATTEMPTS_TO_READ:
                        return None
                # at boot rpcd starts after this daemon; it is also absent for a moment when it restarts
                if not logged:
                    _log.info("waiting for rpcd to load the settings", reason=error)
                    logged = True
                await asyncio.sleep(backoff.next_delay())


def sections_of(given: object) -> dict[str, Table]:
    """The sections in a reply of the helper's; anything else is left out."""
    if not isinstance(given, dict):
        return {}
    return {name: section for name, section in given.items() if isinstance(section, dict)}
