"""Running the checks: all at once, each within its own limit, none able to spoil the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.log import Log

if TYPE_CHECKING:
    from stripe_payments.diagnostics.finding import Finding
    from stripe_payments.diagnostics.probes import Probes, Situation
    from stripe_payments.diagnostics.table import Check

_log = Log("diagnostics")


class Diagnostics:
    """`run` may be called at any time, also before the daemon works and while it cannot.

    Whoever asks while a run is under way shares it: an impatient person does not multiply the requests.
    """

    def __init__(self, situation: Callable[[], Situation], checks: Sequence[Check] | None = None) -> None:
        self._situation = situation
        self._checks = checks
        self._running: asyncio.Task[dict[str, Finding]] | None = None

    async def run(self, locale: str | None = None) -> list[dict[str, Any]]:
        """`[{id, ok, severity, detail, hint}]` in the order of the table; severity: ok, info, warning, error;
        ok is false for the last two; hint is empty where there is nothing to do. Raises nothing.
        """
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._look())
        found = await asyncio.shield(self._running)
        return [
            {
                "id": name,
                "ok": finding.ok,
                "severity": finding.severity,
                "detail": finding.detail.in_locale(locale),
                "hint": finding.hint.in_locale(locale) if finding.hint is not None else "",
            }
            for name, finding in found.items()
        ]

    async def _look(self) -> dict[str, Finding]:
        from stripe_payments.diagnostics.probes import (
            Probes,  # nobody needs these while nothing is wrong: memory on a router
        )
        from stripe_payments.diagnostics.table import CHECKS

        checks = CHECKS if self._checks is None else self._checks
        probes = Probes(self._situation())
        try:
            findings = await asyncio.gather(*(_carry_out(check, probes) for check in checks))
        finally:
            probes.close()
        return {check.id: finding for check, finding in zip(checks, findings, strict=True)}


async def _carry_out(check: Check, probes: Probes) -> Finding:
    from stripe_payments.diagnostics.finding import fault, of_error

    log = _("The system log may tell more: logread -e stripe-payments")
    try:
        async with asyncio.timeout(check.limit):
            return await check.look(probes)
    except TimeoutError:
        seconds = f"{check.limit:g}"
        return fault(
            _("There was no answer within {seconds} seconds.", seconds=seconds),
            _("Try again in a moment. {log}", log=log),
        )
    except PaymentError as error:  # of the ledger, mostly: it says itself what is wrong
        return of_error(error)
    except Exception as error:  # noqa: BLE001 - a check that fails is a finding too
        _log.error("a check failed", exc=error, check=check.id)
        return fault(_("The check itself failed."), log)
