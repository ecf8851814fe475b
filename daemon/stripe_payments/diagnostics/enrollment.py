"""Checks of hub mode: whether the seller's hub serves this router, and its time."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from stripe_payments.diagnostics.connection import CLOCK_HINT, SKEW_S
from stripe_payments.diagnostics.finding import STARTING, Finding, from_error
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.rfc3339 import format_time

_STEPS: Final = _("Name resolution, Connection and Encryption show which step fails.")


async def seller(probes: Probes) -> Finding:
    """Polls the hub, so that what is reported is so now."""
    hub = probes.situation.hub
    if hub is None:
        return STARTING if probes.situation.refusal is None else from_error(probes.situation.refusal)
    with suppress(PaymentError):
        await hub.seller.refresh()
    problem = hub.seller.problem
    if problem is not None and problem.details.get("fault") == "version":
        return Finding(
            "error",
            _("The seller's hub answers in a way that this router does not understand."),
            _("Update the package stripe-payments. If that does not help, contact the seller."),
        )
    if problem is not None and problem.code == "seller_unreachable":
        return Finding("error", from_error(problem).detail, _STEPS)
    if problem is not None:
        return from_error(problem)
    last = hub.seller.last_contact
    if hub.seller.router_id is None or last is None:
        return from_error(PaymentError("not_enrolled"))
    return Finding(
        "ok",
        _(
            "Enrolled with “{name}” ({url}). Last contact: {when}.",
            name=hub.seller.state.seller or "",
            url=hub.url,
            when=format_time(last),
        ),
    )


async def hub_clock(probes: Probes) -> Finding:
    hub = probes.situation.hub
    trusted = hub.clock.now() if hub is not None else None
    if trusted is None:
        return Finding(
            "info",
            _(
                "No trusted time yet: no response from the seller since the start. Nothing expires in the "
                "meantime."
            ),
        )
    here = int(probes.situation.wall_clock())
    if abs(here - trusted) > SKEW_S:
        return Finding(
            "warning",
            _(
                "The router's clock is {here}, the seller's is {value}. Payments use the seller's.",
                here=format_time(max(0, here)),
                value=format_time(trusted),
            ),
            CLOCK_HINT,
        )
    return Finding(
        "ok", _("The router's clock and the seller's agree ({value}).", value=format_time(trusted))
    )
