"""Runs the checks concurrently, each with its own timeout; a check that fails does not affect the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.log import Log

if TYPE_CHECKING:
    from stripe_payments.diagnostics.finding import Check, Finding
    from stripe_payments.diagnostics.probes import Probes, Situation

_log = Log("diagnostics")


class Diagnostics:
    """Can run at any time, also while the daemon is starting or has failed to start.

    Concurrent callers share one run and its requests to Stripe.
    """

    def __init__(self, situation: Callable[[], Situation], checks: Sequence[Check] | None = None) -> None:
        self._situation = situation
        self._checks = checks
        self._running: asyncio.Task[dict[str, Finding]] | None = None

    async def run(self, locale: str | None = None) -> list[dict[str, Any]]:
        """Return `[{id, ok, severity, detail, hint}]` in the table's order; severity: ok, info, warning,
        error; `ok` is false for the last two; `hint` is empty where there is nothing to do. Never raises.
        """
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run_all())
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

    async def _run_all(self) -> dict[str, Finding]:
        situation = self._situation()
        checks, probes = _of_the_mode(situation)
        checks = checks if self._checks is None else self._checks
        try:
            findings = await asyncio.gather(*(_run(check, probes) for check in checks))
        finally:
            probes.close()
        return {check.id: finding for check, finding in zip(checks, findings, strict=True)}


def _of_the_mode(situation: Situation) -> tuple[Sequence[Check], Probes]:
    """Imported on the first run, and only what the mode needs: an undisturbed router saves the memory."""
    if situation.settings.hub is not None:
        from stripe_payments.diagnostics.hub_checks import HUB_CHECKS
        from stripe_payments.diagnostics.probes import Probes

        return HUB_CHECKS, Probes(situation)
    from stripe_payments.diagnostics.checks import CHECKS
    from stripe_payments.diagnostics.stripe_probes import StripeProbes

    return CHECKS, StripeProbes(situation)


async def _run(check: Check, probes: Probes) -> Finding:
    from stripe_payments.diagnostics.finding import Finding, from_error

    log = _("See the system log: logread -e stripe-payments")
    try:
        async with asyncio.timeout(check.timeout):
            return await check.run(probes)
    except TimeoutError:
        return Finding(
            "error",
            _("The check timed out after {seconds} seconds.", seconds=f"{check.timeout:g}"),
            _("Try again in a moment. {log}", log=log),
        )
    except PaymentError as error:  # mostly of the ledger
        return from_error(error)
    except Exception as error:  # noqa: BLE001 - a bug in one check must not hide the others' results
        _log.error("check failed", exc=error, check=check.id)
        return Finding("error", _("The check failed with an internal error."), log)
