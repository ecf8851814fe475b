"""Checks of the Stripe account: keys, permissions, mode and prices."""

from __future__ import annotations

import contextlib
from typing import Final

from stripe_payments.billing.prices import differences, is_active
from stripe_payments.diagnostics.finding import NO_KEY, STRIPE_UNREACHABLE, Finding, Severity
from stripe_payments.diagnostics.stripe_probes import StripeProbes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _, joined
from stripe_payments.setup.catalog_at_stripe import describe
from stripe_payments.setup.webhook_endpoint import KnownEndpoint

_ENTER: Final = _("Enter the key in Settings, or run: /etc/init.d/stripe-payments set_keys")
_PROVISION: Final = _("Create the missing products in Settings, or run: ubus call stripe-payments provision")


async def key(probes: StripeProbes) -> Finding:
    keys = probes.situation.keys.current()
    if keys.secret_key is None:
        return Finding("error", _("No Stripe secret key is set."), _ENTER)
    try:
        await probes.any_request()
    except PaymentError as error:
        if error.code == "stripe_key_invalid" and error.details.get("stripe_code") == "api_key_expired":
            return Finding(
                "error",
                _("The secret key has expired."),
                _("Create a new key in the Stripe Dashboard (Developers > API keys). {enter}", enter=_ENTER),
            )
        if error.code == "stripe_key_invalid":
            return Finding(
                "error",
                _("Stripe does not recognize the secret key."),
                _(
                    "It was revoked or is incomplete: copy it again from the Stripe Dashboard. {enter}",
                    enter=_ENTER,
                ),
            )
        if error.code != "stripe_key_permission":
            return STRIPE_UNREACHABLE
    return Finding("ok", _("Stripe accepts the secret key."))


async def key_permissions(probes: StripeProbes) -> Finding:
    """Only read permissions can be tested without changing anything in Stripe."""
    keys = probes.situation.keys.current()
    secret = keys.secret_key
    if secret is None:
        return NO_KEY
    if not secret.startswith("rk_"):
        if keys.mode == "live":
            return Finding(
                "warning",
                _("The key has full access to the Stripe account, and is stored on this router."),
                _(
                    "Create a restricted key (rk_…) in the Stripe Dashboard (Developers > API keys) with the "
                    "permissions that the security guide lists, then delete this one. {enter}",
                    enter=_ENTER,
                ),
            )
        return Finding("ok", _("The key has full access. A restricted key (rk_…) is enough."))
    try:
        missing = await probes.missing_permissions()
    except PaymentError:
        return STRIPE_UNREACHABLE
    if not missing:
        return Finding("ok", _("The restricted key has all required read permissions."))
    names = ", ".join(f"{one.resource}: {one.router_access.capitalize()}" for one in missing)
    hint = _(
        "Edit the restricted key in the Stripe Dashboard (Developers > API keys) and allow: {names}",
        names=names,
    )
    severity: Severity = "warning" if all(one.setup_only for one in missing) else "error"
    return Finding(severity, _("The restricted key lacks permissions: {names}.", names=names), hint)


async def key_mode(probes: StripeProbes) -> Finding:
    """Objects of test mode do not exist in live mode, and vice versa."""
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
        return Finding(
            "error",
            _(
                "The secret key is of {mode} mode, but these are of {other} mode: {what}.",
                mode=mode,
                other=other,
                what=what,
            ),
            _(
                "Enter keys of the same mode in Settings, then check the products and set up the webhook "
                "again (shell: set_keys, provision, setup_webhook)."
            ),
        )
    if keys.mode == "test":
        return Finding("info", _("Test mode: only test cards work; no real payments."))
    return Finding("ok", _("Live mode: payments are real."))


async def prices(probes: StripeProbes) -> Finding:
    if probes.situation.settings.malformed and not probes.situation.settings.prices:
        return Finding("info", _("Not checked: the configuration cannot be read."))
    if not probes.situation.settings.prices:
        return Finding(
            "warning",
            _("Nothing is for sale: no prices are configured."),
            _("Add prices in Settings, or sections “config price” in /etc/config/stripe-payments."),
        )
    if probes.situation.keys.current().secret_key is None:
        return NO_KEY
    try:
        found = await probes.prices()
    except PaymentError:
        return STRIPE_UNREACHABLE
    missing: list[Text] = []
    archived: list[Text] = []
    different: list[Text] = []
    for alias, price in found.items():
        chosen = price.chosen
        if chosen is None:
            missing.append(_("“{alias}” does not exist in Stripe", alias=alias))
        elif wrong := differences(price.wanted, chosen):
            changes = joined(describe(one, str(chosen.get("currency"))) for one in wrong)
            different.append(Text("“{alias}”: {changes}", (("alias", alias), ("changes", changes))))
        elif not is_active(chosen):
            archived.append(_("“{alias}” is archived in Stripe", alias=alias))
    if not (missing or archived or different):
        return Finding("ok", _("All {count} prices match Stripe.", count=len(found)))
    hints: list[Text] = []
    if missing:
        hints.append(_PROVISION)
    if archived:
        hints.append(_("Unarchive the prices (or their product) in the Stripe Dashboard"))
    if different:
        hints.append(
            _(
                "Correct the changed prices or replace them in Settings, or run: ubus call stripe-payments "
                "provision '{\"replace\":true}'"
            )
        )
    problems = joined([*missing, *archived, *different])
    severity: Severity = "error" if missing or archived else "warning"
    return Finding(severity, Text("{problems}.", (("problems", problems),)), joined(hints))
