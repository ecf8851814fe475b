"""Checks of the webhook, which is optional: its endpoint in Stripe and the last deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stripe_payments.diagnostics.finding import NO_KEY, STARTING, STRIPE_UNREACHABLE, Finding, ago
from stripe_payments.diagnostics.probes import RefusedWebhooks
from stripe_payments.diagnostics.stripe_probes import StripeProbes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _, joined
from stripe_payments.rfc3339 import format_time
from stripe_payments.setup.webhook_endpoint import WEBHOOK_EVENTS, KnownEndpoint, owner

_SETUP: Final = _(
    "Set up the webhook in Settings, or run: ubus call stripe-payments setup_webhook "
    '\'{"url":"https://…/api/payments/webhook"}\''
)


async def webhook_endpoint(probes: StripeProbes) -> Finding:
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
            return Finding("info", _("Not checked: the key lacks permission to read webhook endpoints."))
        return STRIPE_UNREACHABLE
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
            return Finding(
                "info",
                _(
                    "No webhook: the router polls Stripe every {minutes} min, and every few seconds during a "
                    "purchase.",
                    minutes=minutes,
                ),
                _(
                    "If the router is reachable from the internet, a webhook detects renewals sooner. "
                    "{setup}",
                    setup=_SETUP,
                ),
            )
        return Finding("info", _("The webhook secret was entered manually; its endpoint is unknown."))
    if mine is None:
        return Finding(
            "warning",
            _("The webhook endpoint no longer exists in Stripe."),
            _SETUP,
        )
    wrong = _misconfigurations(mine, await probes.stripe.api_version())
    if known is None or mine.get("id") != known.id or not known.holds(keys.webhook_secret):
        wrong.append(_("its secret differs from the stored one"))
    url = mine.get("url")
    if wrong:
        return Finding(
            "warning",
            _("The endpoint {url} is misconfigured: {problems}.", url=url, problems=joined(wrong)),
            _SETUP,
        )
    return Finding("ok", _("Stripe sends events to {url}.", url=url))


def _misconfigurations(endpoint: Mapping[str, Any], version: str) -> list[Text]:
    found: list[Text] = []
    if endpoint.get("status") != "enabled":
        found.append(_("it is disabled"))
    events = set(endpoint.get("enabled_events") or ())
    if "*" not in events and (absent := sorted(set(WEBHOOK_EVENTS) - events)):
        names = ", ".join(absent)
        found.append(_("missing events: {names}", names=names))
    if endpoint.get("api_version") != version:
        actual = endpoint.get("api_version")
        found.append(
            _("API version {found} instead of {version}", found=actual, version=version)
            if actual
            else _("the account's API version instead of {version}", version=version)
        )
    return found


async def webhook_deliveries(probes: StripeProbes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING
    refused = situation.refused_webhooks
    if refused is not None:
        return _refused(refused)
    last = await situation.ledger.read(lambda tx: tx.inbox.latest())
    if last is None:
        return Finding("info", _("No webhook event received yet."))
    when = format_time(last.received_at)
    if last.outcome is None and last.error:
        return Finding(
            "warning",
            _(
                "The last webhook event ({type}, {when}) has not been processed: {error}.",
                type=last.type,
                when=when,
                error=last.error,
            ),
            _("It is retried automatically. The check of Stripe shows whether it can be reached."),
        )
    outcome = last.outcome or "pending"
    return Finding(
        "ok",
        _(
            "Last webhook event ({type}): {when} ({ago}), {outcome}.",
            type=last.type,
            when=when,
            ago=ago(situation.now - last.received_at),
            outcome=outcome,
        ),
    )


def _refused(refused: RefusedWebhooks) -> Finding:
    if refused.code == "webhook_not_configured":
        return Finding(
            "warning",
            _("Webhook events are rejected: no webhook secret is stored."),
            _SETUP,
        )
    if refused.code == "stale_timestamp":
        return Finding(
            "warning",
            _("Webhook events rejected: {count}. The signature was too old.", count=refused.count),
            _("A proxy between Stripe and the router delays them."),
        )
    if refused.code == "clock_not_trusted":
        return Finding("info", _("A webhook event arrived before the clock was set; Stripe retries it."))
    return Finding(
        "warning",
        _(
            "Webhook events rejected: {count}. The signature does not match the stored secret.",
            count=refused.count,
        ),
        _(
            "The stored secret belongs to another endpoint, or a proxy modifies the body. {setup}",
            setup=_SETUP,
        ),
    )
