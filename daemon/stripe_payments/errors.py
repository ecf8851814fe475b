"""Every error that a caller of the daemon can meet: a code, a sentence, a hint what to do, and its two
statuses.

`CODES` is the whole list. Code elsewhere says only ``raise PaymentError("unknown_price", price_id=given)``;
the faces (ubus, HTTP) turn that into their reply, so that both say the same words. Nothing in a sentence
comes from a stack trace, and nothing given as a detail reaches a sentence that does not name it.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from stripe_payments.i18n import Text, _, shown
from stripe_payments.log import redact
from ubus_py import Status

__all__ = ["CODES", "Code", "ErrorBody", "PaymentError"]

ErrorBody = dict[str, dict[str, str]]


class Code(NamedTuple):
    """What one error code means to each face and to a person.

    In `message` and `hint`, ``{name}`` is filled from the error's details, and a part in square brackets is
    left out unless all its names were given: ``no price[ “{price_id}”]``.
    """

    ubus: Status
    http: int
    message: Text
    hint: Text


CODES: Final[Mapping[str, Code]] = {
    # What was asked for.
    "invalid_argument": Code(
        Status.INVALID_ARGUMENT,
        400,
        _("The request is not valid[ (“{argument}”)][: {reason}]."),
        _("Correct the request and send it again."),
    ),
    "unknown_price": Code(
        Status.NOT_FOUND,
        404,
        _("No price[ “{price_id}”] is on sale on this router."),
        _("Choose one of the prices that the catalogue lists."),
    ),
    "price_unavailable": Code(
        Status.NOT_FOUND,
        409,
        _("The price[ “{price_id}”] cannot be bought at the moment."),
        _(
            "It does not exist at Stripe, or is no longer active there. An administrator can create it with "
            "“provision”."
        ),
    ),
    "unknown_feature": Code(
        Status.NOT_FOUND,
        404,
        _("This router has no feature[ “{feature}”]."),
        _("The method “features” lists the names of all features."),
    ),
    "foreign_return_url": Code(
        Status.INVALID_ARGUMENT,
        400,
        _("The return address[ “{url}”] does not belong to this router."),
        _(
            "Use an http or https address of this router, or add its origin to “allowed_origin” in the "
            "settings."
        ),
    ),
    "already_owned": Code(
        Status.INVALID_ARGUMENT,
        409,
        _("This router already has what[ “{item}”] would unlock."),
        _(
            "To change plan use “change_plan”[ with the subscription {subscription}]; invoices and payment "
            "methods are in the customer portal (“portal”)."
        ),
    ),
    "subscription_not_found": Code(
        Status.NOT_FOUND,
        404,
        _("This router has no subscription[ “{subscription}”]."),
        _("The method “subscriptions” lists those that there are."),
    ),
    "not_changeable": Code(
        Status.INVALID_ARGUMENT,
        409,
        _("This cannot be done with the subscription[: {reason}]."),
        _("Look at its state with “subscriptions”; nothing has been changed or charged."),
    ),
    "payment_failed": Code(
        Status.UNKNOWN_ERROR,
        409,
        _("The payment did not succeed[: {reason}]"),
        _("Give another payment method in the customer portal (“portal”), then try again."),
    ),
    "nothing_bought": Code(
        Status.NOT_FOUND,
        404,
        _("This router has not bought anything yet, so it has no customer portal."),
        _("Choose something in the shop first."),
    ),
    "payment_not_found": Code(
        Status.NOT_FOUND,
        404,
        _("This router made no payment[ “{payment_id}”]."),
        _("Check the identifier: it begins with cs_, pi_, in_, sub_ or ch_."),
    ),
    "not_refundable": Code(
        Status.INVALID_ARGUMENT,
        409,
        _("The payment[ “{payment_id}”] cannot be refunded[: {reason}]."),
        _("Only a payment that succeeded and is not yet fully refunded or disputed can be refunded."),
    ),
    "amount_too_large": Code(
        Status.INVALID_ARGUMENT,
        400,
        _("The amount[ {amount}] is more than what is left to refund[ ({available})]."),
        _(
            "Give a smaller amount in the currency's smallest unit (cents), or none to refund all that is "
            "left."
        ),
    ),
    # Who asks.
    "login_required": Code(
        Status.PERMISSION_DENIED,
        401,
        _("This needs a login to the router."),
        _("Log in to LuCI, then try again."),
    ),
    "permission_denied": Code(
        Status.PERMISSION_DENIED,
        403,
        _("You may not do this on this router."),
        _("Ask the router's administrator for the right to make payments."),
    ),
    "cross_origin": Code(
        Status.PERMISSION_DENIED,
        403,
        _("The request came from another website."),
        _("Open the router's own page and try again there."),
    ),
    # How it was asked.
    "invalid_json": Code(
        Status.INVALID_ARGUMENT,
        400,
        _("The body of the request is not a JSON object."),
        _("Send a JSON object in UTF-8, as in the documentation's example."),
    ),
    "unsupported_media_type": Code(
        Status.INVALID_ARGUMENT,
        415,
        _("The body of the request must be JSON."),
        _("Send the header “Content-Type: application/json”."),
    ),
    "body_too_large": Code(
        Status.INVALID_ARGUMENT,
        413,
        _("The body of the request is too large."),
        _("At most 512 KiB are accepted."),
    ),
    "method_not_allowed": Code(
        Status.NOT_SUPPORTED,
        405,
        _("This address does not accept the method[ {method}]."),
        _("[Use {allowed}.]"),
    ),
    "not_found": Code(
        Status.NOT_FOUND,
        404,
        _("There is nothing at this address."),
        _("Check the address."),
    ),
    # The webhook.
    "invalid_signature": Code(
        Status.PERMISSION_DENIED,
        400,
        _("The webhook's signature is not valid."),
        _("Compare the webhook secret with the one that Stripe shows for this endpoint."),
    ),
    "stale_timestamp": Code(
        Status.PERMISSION_DENIED,
        400,
        _("The webhook's signature is too old."),
        _("Stripe signs again whenever it retries."),
    ),
    "webhook_not_configured": Code(
        Status.NOT_SUPPORTED,
        503,
        _("This router has no webhook secret."),
        _(
            "Set it up with “setup_webhook”, or give the secret with “set_keys”. Payments work without it "
            "too."
        ),
    ),
    "clock_not_trusted": Code(
        Status.TIMEOUT,
        503,
        _("The router does not know the time yet, so it cannot check the signature."),
        _(
            "Nothing to do: it learns the time as soon as it reaches Stripe, and Stripe sends the event "
            "again."
        ),
    ),
    # Stripe.
    "not_configured": Code(
        Status.NOT_SUPPORTED,
        503,
        _("Payments are not set up on this router."),
        _("An administrator must enter the Stripe keys under Payments, or with “set_keys”."),
    ),
    "disabled": Code(
        Status.NOT_SUPPORTED,
        503,
        _("Payments are switched off on this router."),
        _("Switch them on with: uci set stripe-payments.main.enabled=1; uci commit stripe-payments"),
    ),
    "stripe_unreachable": Code(
        Status.CONNECTION_FAILED,
        502,
        _("Stripe cannot be reached."),
        _("Check the router's internet connection and try again. Nothing has been charged twice."),
    ),
    "stripe_error": Code(
        Status.UNKNOWN_ERROR,
        502,
        _("Stripe did not accept the request[: {reason}]"),
        _("Try again later. The log has Stripe's number of the request[: {request_id}]."),
    ),
    "stripe_key_invalid": Code(
        Status.PERMISSION_DENIED,
        502,
        _("Stripe does not accept this router's secret key."),
        _(
            "The key was revoked, has expired or was copied incompletely: enter a current one with "
            "“set_keys”."
        ),
    ),
    "stripe_key_permission": Code(
        Status.PERMISSION_DENIED,
        502,
        _("This router's Stripe key lacks a permission[: {permission}]."),
        _(
            "Add the permission to the restricted key in Stripe's Dashboard; “check” tells what else is "
            "missing."
        ),
    ),
    "rate_limited": Code(
        Status.TIMEOUT,
        429,
        _("Too many requests in a short time."),
        _("Try again in [{retry_after} s or ]a moment."),
    ),
    # The daemon itself.
    "timeout": Code(
        Status.TIMEOUT,
        503,
        _("The answer took too long."),
        _("Try again in a moment."),
    ),
    "starting": Code(
        Status.TIMEOUT,
        503,
        _("Payments are starting up."),
        _("Try again in a few seconds."),
    ),
    "ledger_unavailable": Code(
        Status.SYSTEM_ERROR,
        503,
        _("The router cannot store payments at the moment[: {reason}]"),
        _("Free some space on the router's storage, then restart the service stripe-payments."),
    ),
    "settings_not_stored": Code(
        Status.SYSTEM_ERROR,
        503,
        _("The price ids could not be written into the router's configuration[: {reason}]."),
        _("Restart rpcd (service rpcd restart), then run “provision” again: nothing is created twice."),
    ),
    "internal_error": Code(
        Status.UNKNOWN_ERROR,
        500,
        _("Something went wrong inside the router."),
        _("Try again; if it persists, the system log tells more (logread -e stripe-payments)."),
    ),
}

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_NAME = re.compile(r"\{(\w+)\}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_DETAIL_CHARS = 200


class PaymentError(Exception):
    """An error that a caller is told about.

    `details` fill the sentence's placeholders; a detail that is a `Text` is said in the reader's language.
    Details that no sentence names stay for the faces and the log (``retry_after`` in seconds, for instance).
    """

    def __init__(self, code: str, **details: object) -> None:
        self.code = code
        self.details: Mapping[str, object] = details
        self._entry = CODES[code]
        super().__init__(code, self.message)

    @property
    def message(self) -> str:
        """The English sentence."""
        return self.message_in("en")

    @property
    def hint(self) -> str | None:
        """What to do, in English."""
        return self.hint_in("en")

    @property
    def ubus_status(self) -> Status:
        """The status of the reply on ubus."""
        return self._entry.ubus

    @property
    def http_status(self) -> int:
        """The status of the reply over HTTP."""
        return self._entry.http

    def message_in(self, locale: str | None) -> str:
        """The sentence in the reader's language."""
        sentence = _fill(self._entry.message.in_locale(locale), self.details, locale)
        return sentence.replace("..", ".") if sentence.endswith((".", "?", "!", "…")) else f"{sentence}."

    def hint_in(self, locale: str | None) -> str | None:
        """What to do, in the reader's language."""
        return _fill(self._entry.hint.in_locale(locale), self.details, locale) or None

    def body(self, locale: str | None = "en") -> ErrorBody:
        """The reply's body: ``{"error": {"code", "message", "hint"}}``; no hint where there is none."""
        fields = {"code": self.code, "message": self.message_in(locale)}
        hint = self.hint_in(locale)
        if hint is not None:
            fields["hint"] = hint
        return {"error": fields}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def _fill(template: str, details: Mapping[str, object], locale: str | None) -> str:
    def optional(part: re.Match[str]) -> str:
        inside = part.group(1)
        return inside if all(details.get(name) is not None for name in _NAME.findall(inside)) else ""

    def value(name: re.Match[str]) -> str:
        detail = details.get(name.group(1))
        # a key that somebody pasted into the wrong field must not end up on a page or in a ticket
        said = redact(shown(detail, locale))
        # A caller's own words come back to a screen or a terminal: one line, no control characters, and no
        # stand-ins for bytes that are no text.
        said = _UNPRINTABLE.sub(" ", said).strip()
        return said if len(said) <= _DETAIL_CHARS else said[: _DETAIL_CHARS - 1] + "…"

    return _NAME.sub(value, _OPTIONAL.sub(optional, template))
