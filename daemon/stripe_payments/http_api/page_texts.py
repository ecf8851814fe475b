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
    "site": _("Router OS payments"),
    "waiting_heading": _("Confirming your payment"),
    "waiting_lead": _(
        "Stripe is confirming the payment to this router. It usually takes a few seconds; this page follows "
        "by itself."
    ),
    "waiting_offline": _(
        "This router cannot reach Stripe at the moment. It keeps trying by itself, and nothing you paid is "
        "lost."
    ),
    "open_heading": _("Not paid yet"),
    "open_lead": _(
        "The payment page of {item} is still open. Once you have paid there, this page follows by itself."
    ),
    "open_continue": _("Go on to the payment"),
    "paid_heading": _("Payment received"),
    "paid_lead": _("Thank you! You bought {item}."),
    "paid_features": _("Unlocked on your router"),
    "paid_unlocking": _("Being unlocked on your router"),
    "paid_close": _("You can close this page: the shop on your router notices the payment by itself."),
    "pending_heading": _("Your bank is processing the payment"),
    "pending_lead": _(
        "A bank debit takes a few working days. {item} unlocks by itself as soon as the money arrives; you "
        "can close this page."
    ),
    "failed_heading": _("The payment did not go through"),
    "failed_lead": _("Nothing was charged for {item}. You can try again from the shop."),
    "expired_heading": _("This payment page has expired"),
    "expired_lead": _("Nothing was charged. To buy {item}, start again from the shop."),
    "canceled_heading": _("Payment canceled"),
    "canceled_lead": _("You left the payment page before paying: nothing was charged."),
    "refunded_heading": _("Payment refunded"),
    "refunded_lead": _(
        "The money for {item} is on its way back to your payment method; banks take up to ten days."
    ),
    "partially_refunded_heading": _("Payment partly refunded"),
    "partially_refunded_lead": _(
        "Part of what you paid for {item} is on its way back to your payment method."
    ),
    "disputed_heading": _("Payment disputed"),
    "disputed_lead": _(
        "Your bank has opened a dispute over the payment for {item}. What you bought stays until it is "
        "decided."
    ),
    "unknown_heading": _("This payment is not known here"),
    "unknown_lead": _(
        "The address of this page names no payment of this router. If you have just paid, look in the shop: "
        "it shows what you own."
    ),
    "error_heading": _("This page cannot be shown now"),
    "amount": _("Amount"),
    "date": _("Date"),
    "shop": _("Back to the shop"),
    "item_fallback": _("what you chose"),
}


@functools.cache
def texts_in(locale: str) -> Mapping[str, str]:
    """Return every text in one language."""
    return {name: text.in_locale(locale) for name, text in TEXTS.items()}
