"""Loads the settings from rpcd, holds the current ones and keeps a copy of the last that could be read.

The daemon may not read UCI through rpcd's `uci` object (that would grant it every secret on the router); the
small helper `stripe-payments.uci` returns only its own two configurations.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Final

from stripe_payments.backoff import Backoff
from stripe_payments.files import write_durably
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
    """`current`: the settings loaded last; the defaults before the first `load`.

    `folder`: the state directory. It holds a copy of the sections that were read last: where the file has a
    syntax error at the start, what they sell and unlock is needed all the same.
    """

    def __init__(self, bus: Client, folder: Path) -> None:
        self._bus = bus
        self._copy = folder / "settings.json"
        self.current: Settings = Settings.DEFAULTS
        self._loaded = False
        self._loading = asyncio.Lock()
        """One load at a time: what was read last stays, and no caller meets half of another's load."""
        self._sections: dict[str, Table] | None = None
        """What `current` was made from; None where the file was malformed."""

    def get(self) -> Settings:
        """`current`, for a part that reads the settings whenever it needs them."""
        return self.current

    async def load(self) -> dict[str, Table] | None:
        """Read the settings, retrying until rpcd answers. Returns the sections of the features' state, which
        come with them; None where they could not be read.

        If the file cannot be parsed, the previous settings stay, with a problem added.
        """
        async with self._loading:
            answer = await self._load()
            await self._apply(answer)
        return sections_of(answer.get("features")) if answer is not None else None

    async def _apply(self, answer: Table | None) -> None:
        sections = sections_of(answer["settings"]) if answer is not None and "settings" in answer else None
        if sections is not None and sections == self._sections:
            return  # most reloads are about something else
        self._sections = sections
        if sections is None:
            if not self._loaded:
                copy = await asyncio.to_thread(self._read_copy)
                self.current = settings_from_uci(copy) if copy else Settings.DEFAULTS
            loaded = replace(self.current, malformed=True, problems=(_MALFORMED,))
        else:
            loaded = settings_from_uci(sections)
            if not self._loaded or loaded != self.current:
                await asyncio.to_thread(self._write_copy, sections)
        self._loaded = True
        before, self.current = self.current, loaded
        if loaded != before:
            for problem in loaded.problems:
                _log.warning(
                    "invalid setting",
                    section=problem.section,
                    option=problem.option,
                    problem=problem.text,
                )

    def _read_copy(self) -> dict[str, Table]:
        """The sections that were read last; none where there is no copy, or no sound one."""
        try:
            return sections_of(json.loads(self._copy.read_bytes()))
        except (OSError, ValueError):
            return {}

    def _write_copy(self, sections: dict[str, Table]) -> None:
        """A copy that cannot be written is no reason not to use the settings."""
        content = json.dumps(sections, separators=(",", ":")).encode()
        try:
            if not self._copy.exists() or self._copy.read_bytes() != content:
                write_durably(self._copy, content)
        except OSError as error:
            _log.warning("copy of the settings not written", path=self._copy, reason=error.strerror)

    async def _load(self) -> Table | None:
        """The helper's reply, without `settings` where their file cannot be parsed; None where it keeps
        failing to read either configuration.
        """
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
