"""Every sentence of the two pages.

A text is chosen by the state of the payment (`outcome.State`): `STATE_heading`, `STATE_lead`. `{item}`
is the plan or product that was bought; the template escapes it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

from stripe_payments.i18n import Text, _

TEXTS: Final[Mapping[str, Text]] = {
    "site": _("Router payments"),
    "features": _("See my features"),
    "support": _("Support"),
    "terms": _("Terms of service"),
    "privacy": _("Privacy policy"),
    "waiting_heading": _("Confirming your payment"),
    "waiting_lead": _(
        "Stripe is confirming the payment to this router. This usually takes a few seconds; the page updates "
        "automatically."
    ),
    "waiting_offline": _(
        "This router cannot reach Stripe at the moment. It retries automatically; your payment is not lost."
    ),
    "open_heading": _("Not paid yet"),
    "open_lead": _("The payment page for {item} is still open. This page updates when you have paid."),
    "open_continue": _("Continue to payment"),
    "paid_heading": _("Payment received"),
    "paid_lead": _("Thank you for buying {item}."),
    "paid_features": _("Unlocked on your router"),
    "paid_unlocking": _("Unlocking on your router"),
    "paid_close": _("You can close this page. The shop updates automatically."),
    "pending_heading": _("Your bank is processing the payment"),
    "pending_lead": _(
        "A bank debit takes a few business days. {item} unlocks automatically when it completes; you can "
        "close this page."
    ),
    "failed_heading": _("Payment failed"),
    "failed_lead": _("You were not charged for {item}. Try again from the shop."),
    "expired_heading": _("Payment page expired"),
    "expired_lead": _("You were not charged. To buy {item}, start again from the shop."),
    "canceled_heading": _("Payment canceled"),
    "canceled_lead": _("You left the payment page; you were not charged."),
    "refunded_heading": _("Payment refunded"),
    "refunded_lead": _(
        "The payment for {item} is being refunded to your payment method. Banks can take up to ten days."
    ),
    "partially_refunded_heading": _("Payment partially refunded"),
    "partially_refunded_lead": _("Part of the payment for {item} is being refunded to your payment method."),
    "disputed_heading": _("Payment disputed"),
    "disputed_lead": _(
        "The payment for {item} is disputed. Your purchase stays unlocked until the dispute is resolved."
    ),
    "unknown_heading": _("Payment not found"),
    "unknown_lead": _(
        "This address does not belong to a payment of this router. If you have just paid, see the shop: it "
        "shows what you own."
    ),
    "error_heading": _("This page is not available"),
    "amount": _("Amount"),
    "date": _("Date"),
    "shop": _("Back to the shop"),
    "item_fallback": _("your choice"),
}


@functools.cache
def texts_in(locale: str) -> Mapping[str, str]:
    """Return every text in one language."""
    return {name: text.in_locale(locale) for name, text in TEXTS.items()}
