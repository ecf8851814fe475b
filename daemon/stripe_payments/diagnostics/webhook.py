"""The webhook: the endpoint at Stripe, and what has come in from it. Payments work without one, only
later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stripe_payments.diagnostics.finding import (
    NO_KEY,
    STARTING,
    STRIPE_AWAY,
    Finding,
    fine,
    note,
    warning,
)
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _, joined
from stripe_payments.rfc3339 import format_time
from stripe_payments.setup.webhook_endpoint import WEBHOOK_EVENTS, KnownEndpoint, owner

_SETUP: Final = _('Run: ubus call stripe-payments setup_webhook \'{"url":"https://…/api/payments/webhook"}\'')


async def webhook_endpoint(probes: Probes) -> Finding:
    situation = probes.situation
    identity = situation.identity.loaded
    if situation.ledger is None or identity is None:
        return STARTING
    keys = situation.keys.current()
    if keys.secret_key is None:
        return NO_KEY
    known = await situation.ledger.read(KnownEndpoint.read)
    try:
        endpoints = await probes.endpoints()
    except PaymentError as error:
        if error.code == "stripe_key_permission":
            return note(
                _("Not checked: the key may not read webhook endpoints."),
            )
        return STRIPE_AWAY
    mine = next(
        (
            one
            for one in sorted(endpoints, key=lambda one: known is None or one.get("id") != known.id)
            if owner(one) == identity.router_id or (known is not None and one.get("id") == known.id)
        ),
        None,
    )
    if mine is None and known is None:
        if keys.webhook_secret is None:
            minutes = max(1, situation.settings.poll_interval // 60)
            return note(
                _(
                    "There is no webhook: Stripe is asked every {minutes} min, and every few seconds while "
                    "somebody buys.",
                    minutes=minutes,
                ),
                _(
                    "If the router can be reached from the internet, renewals are noticed sooner with one. "
                    "{setup}",
                    setup=_SETUP,
                ),
            )
        return note(
            _("The webhook secret was entered by hand; which endpoint it belongs to cannot be told."),
        )
    if mine is None:
        return warning(
            _("The webhook endpoint does not exist at Stripe any more."),
            _SETUP,
        )
    wrong = _faults(mine, await probes.stripe.api_version())
    if known is None or mine.get("id") != known.id or not known.holds(keys.webhook_secret):
        wrong.append(_("its secret is not the one that is stored here"))
    url = mine.get("url")
    if wrong:
        said = joined(wrong)
        return warning(
            _("The endpoint {url} is not as it should be: {said}.", url=url, said=said),
            _SETUP,
        )
    return fine(_("Stripe sends to {url}.", url=url))


def _faults(endpoint: Mapping[str, Any], version: str) -> list[Text]:
    faults: list[Text] = []
    if endpoint.get("status") != "enabled":
        faults.append(_("it is disabled"))
    events = set(endpoint.get("enabled_events") or ())
    if "*" not in events and (absent := sorted(set(WEBHOOK_EVENTS) - events)):
        names = ", ".join(absent)
        faults.append(_("it lacks the events {names}", names=names))
    if endpoint.get("api_version") != version:
        found = endpoint.get("api_version")
        faults.append(
            _("it sends API version {found} instead of {version}", found=found, version=version)
            if found
            else _("it sends the account's API version instead of {version}", version=version)
        )
    return faults


async def webhook_deliveries(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING
    refused = situation.refused_webhooks
    if refused.code == "webhook_not_configured":
        return warning(
            _("Stripe sends webhooks, but no webhook secret is stored: they are refused."),
            _SETUP,
        )
    if refused.code == "stale_timestamp":
        return warning(
            _("Webhooks refused: {count}. The signature was too old on arrival.", count=refused.count),
            _("Something between Stripe and the router holds them back, such as a proxy with a queue."),
        )
    if refused.code == "clock_not_trusted":
        return note(
            _("A webhook came before the time was known; Stripe sends it again."),
        )
    if refused.code:
        return warning(
            _(
                "Webhooks refused: {count}. The signature does not fit the stored secret.",
                count=refused.count,
            ),
            _(
                "The stored secret belongs to another endpoint, or a proxy changes the body. {setup}",
                setup=_SETUP,
            ),
        )
    last = await situation.ledger.read(lambda tx: tx.inbox.latest())
    if last is None:
        return note(_("No webhook has come in yet."))
    minutes = max(0, situation.now - last.received_at) // 60
    when = format_time(last.received_at)
    if last.outcome is None and last.error:
        return warning(
            _(
                "The last webhook ({type}, {when}) has not been worked off: {error}.",
                type=last.type,
                when=when,
                error=last.error,
            ),
            _("It is tried again by itself; the check “stripe” tells whether Stripe can be asked."),
        )
    outcome = last.outcome or "pending"
    return fine(
        _(
            "The last webhook ({type}) came at {when} ({minutes} min ago): {outcome}.",
            type=last.type,
            when=when,
            minutes=minutes,
            outcome=outcome,
        ),
    )
