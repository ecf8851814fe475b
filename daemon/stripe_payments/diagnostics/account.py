"""Key and prices: what the router has to show at Stripe, and what is on sale there."""

from __future__ import annotations

import contextlib
from typing import Final

from stripe_payments.diagnostics.finding import (
    NO_KEY,
    STRIPE_AWAY,
    Finding,
    fault,
    fine,
    note,
    warning,
)
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _, joined
from stripe_payments.setup.catalog_at_stripe import describe, differences, is_active
from stripe_payments.setup.webhook_endpoint import KnownEndpoint

_ENTER: Final = _("Enter the key under Payments in LuCI, or with: /etc/init.d/stripe-payments set_keys")
_PROVISION: Final = _("Run: ubus call stripe-payments provision")


async def key(probes: Probes) -> Finding:
    keys = probes.situation.keys.current()
    if keys.secret_key is None:
        return fault(_("There is no secret key for Stripe."), _ENTER)
    try:
        await probes.answer()
    except PaymentError as error:
        if error.code == "stripe_key_invalid" and error.details.get("stripe_code") == "api_key_expired":
            return fault(
                _("The secret key has expired."),
                _("Create a new key in Stripe's Dashboard (Developers > API keys). {enter}", enter=_ENTER),
            )
        if error.code == "stripe_key_invalid":
            return fault(
                _("Stripe does not know the secret key."),
                _(
                    "It was revoked, or copied incompletely: copy it again from Stripe's Dashboard. {enter}",
                    enter=_ENTER,
                ),
            )
        if error.code != "stripe_key_permission":
            return STRIPE_AWAY
    return fine(_("Stripe accepts the secret key."))


async def key_permissions(probes: Probes) -> Finding:
    """Only what can be found out without changing anything at Stripe: whether reading is allowed."""
    secret = probes.situation.keys.current().secret_key
    if secret is None:
        return NO_KEY
    if not secret.startswith("rk_"):
        return fine(
            _("The key may do everything. A restricted key (rk_…) would be enough."),
        )
    try:
        missing = await probes.unreadable()
    except PaymentError:
        return STRIPE_AWAY
    if not missing:
        return fine(
            _("The restricted key may read everything that is needed."),
        )
    names = ", ".join(f"{one.resource}: {one.access.capitalize()}" for one in missing)
    hint = _(
        "Edit the restricted key in Stripe's Dashboard (Developers > API keys) and allow: {names}",
        names=names,
    )
    report = warning if all(one.setup_only for one in missing) else fault
    return report(_("The restricted key lacks: {names}.", names=names), hint)


async def key_mode(probes: Probes) -> Finding:
    """Test and live are two worlds at Stripe: nothing of one can be used in the other."""
    keys = probes.situation.keys.current()
    if keys.secret_key is None:
        return NO_KEY
    mixed: list[Text] = []
    publishable = keys.publishable_key
    if publishable is not None and (publishable.split("_")[1] == "live") is not (keys.mode == "live"):
        mixed.append(_("the publishable key"))
    ledger = probes.situation.ledger
    known = await ledger.read(KnownEndpoint.read) if ledger is not None else None
    if known is not None and known.holds(keys.webhook_secret) and known.livemode is not (keys.mode == "live"):
        mixed.append(_("the webhook secret"))
    with contextlib.suppress(PaymentError):
        mixed += [
            _("the price id of “{alias}”", alias=alias)
            for alias, price in (await probes.prices()).items()
            if price.other_mode
        ]
    if mixed:
        mode, other = keys.mode, "test" if keys.mode == "live" else "live"
        what = joined(mixed)
        return fault(
            _(
                "The secret key is a {mode} key, but these belong to {other} mode: {what}.",
                mode=mode,
                other=other,
                what=what,
            ),
            _(
                "Enter the other keys of the same mode with “set_keys”, then run “provision” and "
                "“setup_webhook”."
            ),
        )
    if keys.mode == "test":
        return note(
            _("Test mode: only test cards work, and no money moves."),
        )
    return fine(_("Live mode: payments are real."))


async def prices(probes: Probes) -> Finding:
    if not probes.situation.settings.prices:
        return warning(
            _("Nothing is on sale: the configuration has no price."),
            _("Add sections “config price” to /etc/config/stripe-payments."),
        )
    if probes.situation.keys.current().secret_key is None:
        return NO_KEY
    try:
        found = await probes.prices()
    except PaymentError:
        return STRIPE_AWAY
    absent: list[Text] = []
    unsold: list[Text] = []
    different: list[Text] = []
    for alias, price in found.items():
        chosen = price.chosen
        if chosen is None:
            absent.append(_("“{alias}” does not exist at Stripe", alias=alias))
        elif wrong := differences(price.wanted, chosen):
            told = joined(describe(one, _currency(one.field, chosen.get("currency"))) for one in wrong)
            different.append(Text("“{alias}”: {told}", (("alias", alias), ("told", told))))
        elif not is_active(chosen):
            unsold.append(_("“{alias}” is archived at Stripe", alias=alias))
    if not (absent or unsold or different):
        return fine(
            _("All {count} prices are on sale at Stripe as configured.", count=len(found)),
        )
    hints: list[Text] = []
    if absent:
        hints.append(_PROVISION)
    if unsold:
        hints.append(_("Make the archived prices (or their product) active again in Stripe's Dashboard"))
    if different:
        hints.append(
            _(
                "Correct the differing prices in /etc/config/stripe-payments, or create new ones at Stripe: "
                "ubus call stripe-payments provision '{\"replace\":true}'"
            )
        )
    said = joined([*absent, *unsold, *different])
    report = fault if absent or unsold else warning
    return report(Text("{said}.", (("said", said),)), joined(hints))


def _currency(field: str, at_stripe: object) -> str:
    return str(at_stripe) if field == "amount" else ""
