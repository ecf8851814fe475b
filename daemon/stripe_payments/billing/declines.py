"""Why a payment failed, in a sentence for the person who tried to pay.

Stripe's decline codes (documentation: "Decline codes") in groups that a buyer can act on. `fraudulent`,
`lost_card` and `stolen_card` are shown as a plain decline, as Stripe asks: the person at the router need not
be the card's owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stripe_payments.i18n import Text, _
from stripe_payments.sync.raw_fields import expanded, text

if TYPE_CHECKING:
    from stripe_payments.sync.projection import State


@dataclass(frozen=True, slots=True)
class Failure:
    """code, decline_code: Stripe's own (`card_declined`, `insufficient_funds`); reason: the group they
    fall into (`declined`); message: what to tell.
    """

    code: str
    decline_code: str | None
    reason: str
    message: Text


_SENTENCES: Final[dict[str, Text]] = {
    "declined": _("Your bank declined the payment. Use another card, or contact your bank."),
    "insufficient_funds": _("Insufficient funds. Use another card."),
    "expired_card": _("The card has expired. Use another card."),
    "authentication_required": _(
        "The payment was not confirmed with your bank (3-D Secure). Pay again and confirm it."
    ),
    "country": _("This card does not support payments in this country or currency. Use another card."),
    "incorrect_details": _(
        "The card number, expiry date or security code is incorrect. Check them and try again."
    ),
    "limit_exceeded": _("The card's limit has been reached. Use another card, or try again tomorrow."),
    "not_supported": _("This card does not support this type of payment. Use another card."),
    "try_again": _(
        "Your bank could not process the payment. Nothing was charged; try again in a few minutes."
    ),
    "debit_failed": _("The bank debit failed. Pay again, or use another payment method."),
    "canceled": _("The payment was canceled; you were not charged."),
}

_REASONS: Final[dict[str, str]] = {
    "insufficient_funds": "insufficient_funds",
    "expired_card": "expired_card",
    "invalid_expiry_month": "incorrect_details",
    "invalid_expiry_year": "incorrect_details",
    "incorrect_cvc": "incorrect_details",
    "invalid_cvc": "incorrect_details",
    "incorrect_number": "incorrect_details",
    "invalid_number": "incorrect_details",
    "invalid_account": "incorrect_details",
    "incorrect_zip": "incorrect_details",
    "incorrect_address": "incorrect_details",
    "incorrect_pin": "incorrect_details",
    "invalid_pin": "incorrect_details",
    "authentication_required": "authentication_required",
    "payment_intent_authentication_failure": "authentication_required",
    "authentication_not_handled": "authentication_required",
    "offline_pin_required": "authentication_required",
    "online_or_offline_pin_required": "authentication_required",
    "mobile_device_authentication_required": "authentication_required",
    "country_code_invalid": "country",
    "country_unsupported": "country",
    "currency_not_supported": "country",
    "card_velocity_exceeded": "limit_exceeded",
    "withdrawal_count_limit_exceeded": "limit_exceeded",
    "pin_try_exceeded": "limit_exceeded",
    "card_not_supported": "not_supported",
    "transaction_not_allowed": "not_supported",
    "service_not_allowed": "not_supported",
    "testmode_decline": "not_supported",
    "test_mode_live_card": "not_supported",
    "live_mode_test_card": "not_supported",
    "processing_error": "try_again",
    "issuer_not_available": "try_again",
    "reenter_transaction": "try_again",
    "try_again_later": "try_again",
    "approve_with_id": "try_again",
    "account_closed": "debit_failed",
    "bank_account_restricted": "debit_failed",
    "debit_not_authorized": "debit_failed",
    "no_account": "debit_failed",
    "payment_intent_payment_attempt_failed": "debit_failed",
    "canceled": "canceled",
}


def shown_failure(
    code: str | None, decline_code: str | None, locale: str | None
) -> dict[str, str | None] | None:
    """{code, decline_code, reason, message} in the caller's language; None without a code."""
    if not code and not decline_code:
        return None
    found = failure(code, decline_code)
    return {
        "code": found.code,
        "decline_code": found.decline_code,
        "reason": found.reason,
        "message": found.message.in_locale(locale),
    }


def failure_of_invoice(state: State, invoice_id: str, locale: str | None) -> dict[str, str | None] | None:
    """Why the last attempt to collect an unpaid invoice failed, as `shown_failure`; None if none was made.

    The invoice contains no reason. Its payment's newest charge does, which is stored with the other charges:
    `failure_code`, and in `outcome` the decline code (https://docs.stripe.com/api/charges/object).
    """
    invoice = state.parsed.invoices.get(invoice_id)
    if invoice is None or invoice.status == "paid":
        return None
    tried = [one for one in state.parsed.charges.values() if one.payment_intent in invoice.payment_intents]
    if not tried or not tried[0].failure_code:
        return None
    decline = text((expanded(state.objects[tried[0].id].get("outcome")) or {}).get("reason"))
    return shown_failure(tried[0].failure_code, decline or None, locale)


def failure(code: str | None, decline_code: str | None = None) -> Failure:
    """The failure that Stripe's `code` and, where there is one, `decline_code` tell of.

    The decline code is the more precise one; a code that is not in the table is an ordinary decline.
    """
    found = (_REASONS.get(candidate or "") for candidate in (decline_code, code))
    reason = next((reason for reason in found if reason is not None), "declined")
    return Failure(code or "card_declined", decline_code, reason, _SENTENCES[reason])
