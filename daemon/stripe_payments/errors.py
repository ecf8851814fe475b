"""Every error of the API: code, message, two hints, and the status on ubus and over HTTP.

`CODES` is the complete list. The caller of an error only names it: ``raise PaymentError("unknown_price",
price_id=given)``; ubus and HTTP build the same reply from it. No message contains a stack trace, or a detail
that its template does not name.
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
    """Statuses and sentences of one error code.

    `user_hint` says what a person in LuCI or a buyer can do, without names of methods, ids or files. `hint`
    is for a program and for an administrator in a shell; None where `user_hint` serves both.

    ``{name}`` is filled from the error's details, and a part in square brackets is omitted unless all its
    names were given: ``no price[ “{price_id}”]``.
    """

    ubus: Status
    http: int
    message: Text
    user_hint: Text
    hint: Text | None = None


CODES: Final[Mapping[str, Code]] = {
    # Arguments and state.
    "invalid_argument": Code(
        Status.INVALID_ARGUMENT,
        400,
        _("Invalid value[ for “{argument}”][: {reason}]."),
        hint=_("Correct the argument and retry."),
        user_hint=_("Correct what you entered and try again."),
    ),
    "unknown_price": Code(
        Status.NOT_FOUND,
        404,
        _("Unknown price[ “{price_id}”]."),
        hint=_("“catalog” lists the prices."),
        user_hint=_("Reload the shop and choose again."),
    ),
    "price_unavailable": Code(
        Status.NOT_FOUND,
        409,
        _("The price[ “{price_id}”] is currently not for sale."),
        hint=_("It does not exist in Stripe or is archived there: run “provision”."),
        user_hint=_("Choose another price, or ask the administrator to check the products in Settings."),
    ),
    "option_refused": Code(
        Status.NOT_SUPPORTED,
        503,
        _("Stripe does not accept the option[ “{option}”] of this router[: {reason}]"),
        hint=_(
            "Set it up in the Stripe Dashboard (for “terms_of_service” the URL of the terms under Settings, "
            "Business, Public details), or turn the option off."
        ),
        user_hint=_(
            "The administrator has to set it up in the Stripe Dashboard, or turn it off in Settings."
        ),
    ),
    "unknown_feature": Code(
        Status.NOT_FOUND,
        404,
        _("Unknown feature[ “{feature}”]."),
        hint=_("“features” lists all features."),
        user_hint=_("Reload the page and try again."),
    ),
    "foreign_return_url": Code(
        Status.INVALID_ARGUMENT,
        400,
        _("The return URL[ “{url}”] does not belong to this router."),
        hint=_("Use an http or https URL of this router, or add its origin to the option “allowed_origin”."),
        user_hint=_(
            "Open the shop at the router's own address, or ask the administrator to allow this one in "
            "Settings."
        ),
    ),
    "already_owned": Code(
        Status.INVALID_ARGUMENT,
        409,
        _("This router cannot buy[ “{item}”] now[: {reason}]."),
        hint=_(
            "To switch plans use “change_plan”[ with subscription {subscription}]; for invoices and payment "
            "methods use “portal”."
        ),
        user_hint=_("My features shows what you own. You can switch plans there."),
    ),
    "subscription_not_found": Code(
        Status.NOT_FOUND,
        404,
        _("This router has no such subscription[: “{subscription}”]."),
        hint=_("“subscriptions” lists the subscriptions of this router."),
        user_hint=_("Reload the page: the subscription may have changed."),
    ),
    "not_changeable": Code(
        Status.INVALID_ARGUMENT,
        409,
        _("The subscription cannot be changed like this[: {reason}]."),
        hint=_("Nothing was changed or charged; “subscriptions” shows its state."),
        user_hint=_("Nothing was changed or charged."),
    ),
    "payment_failed": Code(
        Status.UNKNOWN_ERROR,
        409,
        _("The payment failed[: {reason}]"),
        hint=_("Set another payment method in the customer portal (“portal”), then retry."),
        user_hint=_("Update your payment method under Invoices and payment methods, then try again."),
    ),
    "nothing_bought": Code(
        Status.NOT_FOUND,
        404,
        _("This router has not bought anything yet."),
        hint=_("The customer portal exists after the first purchase."),
        user_hint=_("Invoices and payment methods appear after your first purchase."),
    ),
    "payment_not_found": Code(
        Status.NOT_FOUND,
        404,
        _("This router has no such payment[: “{payment_id}”]."),
        hint=_("Pass an id that begins with cs_, pi_, in_, sub_ or ch_."),
        user_hint=_("Check the transactions of this router."),
    ),
    "not_refundable": Code(
        Status.INVALID_ARGUMENT,
        409,
        _("The payment[ “{payment_id}”] cannot be refunded[: {reason}]."),
        user_hint=_("Only a successful payment that is neither disputed nor fully refunded can be refunded."),
    ),
    "amount_too_large": Code(
        Status.INVALID_ARGUMENT,
        400,
        _("The amount[ {amount}] exceeds what can be refunded[ ({available})][: {reason}]."),
        hint=_(
            "Pass a smaller amount in the currency's smallest unit (cents), or omit it to refund everything."
        ),
        user_hint=_("Enter a smaller amount."),
    ),
    # Authentication.
    "login_required": Code(
        Status.PERMISSION_DENIED,
        401,
        _("You are not logged in to this router."),
        hint=_("Send the session cookie of LuCI."),
        user_hint=_("Log in, then try again."),
    ),
    "permission_denied": Code(
        Status.PERMISSION_DENIED,
        403,
        _("You do not have permission to do this on this router."),
        user_hint=_("Ask the administrator of this router."),
    ),
    "cross_origin": Code(
        Status.PERMISSION_DENIED,
        403,
        _("The request came from another website."),
        hint=_("Send it from a page of this router: “Origin” must be the router's own."),
        user_hint=_("Open the router's own page and try again there."),
    ),
    # HTTP.
    "invalid_json": Code(
        Status.INVALID_ARGUMENT,
        400,
        _("The request body is not a JSON object."),
        hint=_("Send a JSON object in UTF-8."),
        user_hint=_("Reload the page and try again."),
    ),
    "unsupported_media_type": Code(
        Status.INVALID_ARGUMENT,
        415,
        _("The request body must be JSON."),
        hint=_("Send the header “Content-Type: application/json”."),
        user_hint=_("Reload the page and try again."),
    ),
    "body_too_large": Code(
        Status.INVALID_ARGUMENT,
        413,
        _("The request body is too large."),
        hint=_("The limit is 512 KiB, less for some routes."),
        user_hint=_("Shorten what you entered and try again."),
    ),
    "method_not_allowed": Code(
        Status.NOT_SUPPORTED,
        405,
        _("This address does not support the HTTP method[ {method}]."),
        hint=_("[Use {allowed}.]"),
        user_hint=_("Open the address from the shop."),
    ),
    "not_found": Code(
        Status.NOT_FOUND,
        404,
        _("There is nothing at this address."),
        user_hint=_("Check the address."),
    ),
    # Webhook.
    "invalid_signature": Code(
        Status.PERMISSION_DENIED,
        400,
        _("Invalid webhook signature."),
        hint=_("Compare the stored webhook secret with the one that Stripe shows for this endpoint."),
        user_hint=_("Check the webhook secret in Settings."),
    ),
    "stale_timestamp": Code(
        Status.PERMISSION_DENIED,
        400,
        _("The webhook signature is too old."),
        user_hint=_("Nothing to do: Stripe retries with a new signature."),
    ),
    "webhook_not_configured": Code(
        Status.NOT_SUPPORTED,
        503,
        _("This router has no webhook secret."),
        hint=_(
            "Run “setup_webhook”, or store the secret with “set_keys”. Payments also work without a webhook."
        ),
        user_hint=_("Set up the webhook in Settings. Payments also work without it."),
    ),
    "clock_not_trusted": Code(
        Status.TIMEOUT,
        503,
        _("The router's clock is not set yet, so the signature cannot be verified."),
        user_hint=_("Nothing to do: the router gets the time from Stripe, and Stripe retries."),
    ),
    # Stripe.
    "not_configured": Code(
        Status.NOT_SUPPORTED,
        503,
        _("Payments are not set up on this router."),
        hint=_("Store the Stripe keys with “set_keys”."),
        user_hint=_("The administrator has to enter the Stripe keys in Settings."),
    ),
    "disabled": Code(
        Status.NOT_SUPPORTED,
        503,
        _("Payments are disabled on this router."),
        hint=_(
            "Enable them: uci set stripe-payments.main.enabled=1; uci commit stripe-payments; reload_config"
        ),
        user_hint=_("What you own stays unlocked. The administrator can enable payments in Settings."),
    ),
    "library_missing": Code(
        Status.NOT_SUPPORTED,
        503,
        _("Stripe's Python library is not installed: this package is made for a seller's hub."),
        hint=_("Install the package python3-stripe, which brings python3-requests, or set the option hub."),
        user_hint=_("Ask the administrator to install the package python3-stripe."),
    ),
    "stripe_unreachable": Code(
        Status.CONNECTION_FAILED,
        502,
        _("Stripe cannot be reached."),
        hint=_(
            "Check the router's internet connection and retry; “check” shows which step fails. A retry never "
            "charges twice."
        ),
        user_hint=_("Check the router's internet connection and try again. You are never charged twice."),
    ),
    "stripe_error": Code(
        Status.UNKNOWN_ERROR,
        502,
        _("Stripe rejected the request[: {reason}]"),
        hint=_("Retry later; see the log for details[ (Stripe request {request_id})]."),
        user_hint=_("Try again later."),
    ),
    "stripe_key_invalid": Code(
        Status.PERMISSION_DENIED,
        502,
        _("Stripe does not accept the secret key of this router."),
        hint=_("It was revoked, has expired or is incomplete: store a valid one with “set_keys”."),
        user_hint=_("The administrator has to enter a valid Stripe key in Settings."),
    ),
    "stripe_key_permission": Code(
        Status.PERMISSION_DENIED,
        502,
        _("The Stripe key of this router lacks a permission[: {permission}]."),
        hint=_(
            "Add it to the restricted key in the Stripe Dashboard; “check” lists all missing permissions."
        ),
        user_hint=_("The administrator has to add it to the restricted key in the Stripe Dashboard."),
    ),
    "rate_limited": Code(
        Status.TIMEOUT,
        429,
        _("Too many requests."),
        hint=_("Retry in [{retry_after} s or ]a moment."),
        user_hint=_("Wait a minute, then try again."),
    ),
    # The seller's hub.
    "seller_unreachable": Code(
        Status.CONNECTION_FAILED,
        502,
        _("The seller cannot be reached[: {reason}]."),
        hint=_(
            "Check the router's internet connection and retry; “check” shows which step fails. A retry never "
            "charges twice."
        ),
        user_hint=_("Check the router's internet connection and try again. What you own stays unlocked."),
    ),
    "foreign_page": Code(
        Status.PERMISSION_DENIED,
        502,
        _("The seller named a payment page that is not Stripe's."),
        hint=_("Report it to the seller. Nothing was charged."),
        user_hint=_("Report it to the seller. Nothing was charged."),
    ),
    "not_enrolled": Code(
        Status.NOT_SUPPORTED,
        503,
        _("This router is not enrolled with the seller yet."),
        hint=_("It enrols by itself; “check” shows what keeps it from it."),
        user_hint=_("Try again in a moment. If it persists, contact the seller."),
    ),
    "enrollment_closed": Code(
        Status.PERMISSION_DENIED,
        403,
        _("Enrolling with the seller needs a code."),
        hint=_(
            "Get one from the seller, then: uci set stripe-payments.main.hub_code=CODE; uci commit "
            "stripe-payments; reload_config"
        ),
        user_hint=_("Get a code from the seller."),
    ),
    "code_refused": Code(
        Status.PERMISSION_DENIED,
        403,
        _("The code is wrong or has expired."),
        user_hint=_("Check it, or get a new one from the seller."),
    ),
    "code_used": Code(
        Status.PERMISSION_DENIED,
        409,
        _("The code has been used by another router."),
        user_hint=_("Get a new one from the seller."),
    ),
    "credential_refused": Code(
        Status.PERMISSION_DENIED,
        401,
        _("The seller does not know this router."),
        hint=_(
            "Get a code from the seller, then: uci set stripe-payments.main.hub_code=CODE; uci commit "
            "stripe-payments; reload_config"
        ),
        user_hint=_("Contact the seller. What you own stays unlocked until its day."),
    ),
    "router_revoked": Code(
        Status.PERMISSION_DENIED,
        403,
        _("The seller has blocked this router."),
        user_hint=_("Contact the seller. What you own stays unlocked until its day."),
    ),
    "router_replaced": Code(
        Status.PERMISSION_DENIED,
        403,
        _("What was bought on this router has been moved to another one."),
        user_hint=_("Contact the seller if that was not you."),
    ),
    "router_not_empty": Code(
        Status.INVALID_ARGUMENT,
        409,
        _("This router has purchases of its own."),
        user_hint=_("Contact the seller: only they can merge the purchases of two routers."),
    ),
    # The daemon itself.
    "timeout": Code(
        Status.TIMEOUT,
        503,
        _("The request timed out."),
        user_hint=_("Try again in a moment."),
    ),
    "starting": Code(
        Status.TIMEOUT,
        503,
        _("The payment service is starting."),
        user_hint=_("Try again in a few seconds."),
    ),
    "ledger_unavailable": Code(
        Status.SYSTEM_ERROR,
        503,
        _("The router cannot store payments at the moment[: {reason}]"),
        hint=_("Free some space, then run: service stripe-payments restart"),
        user_hint=_("Free some space on the router's storage, then restart the payment service."),
    ),
    "settings_malformed": Code(
        Status.UNKNOWN_ERROR,
        503,
        _("The configuration has a syntax error and cannot be read."),
        hint=_("Run: uci show stripe-payments, which shows where. Correct the file, then retry."),
        user_hint=_("Correct the file on the router's shell, or restore a backup of the configuration."),
    ),
    "settings_not_stored": Code(
        Status.SYSTEM_ERROR,
        503,
        _("The price ids could not be saved to the router's configuration[: {reason}]."),
        hint=_(
            "Free some space where it is full: df -h /etc /tmp. Otherwise run: killall -HUP rpcd || service "
            "rpcd restart. Then run “provision” again. Nothing is created twice."
        ),
        user_hint=_(
            "Remove unused packages or restart rpcd under System > Startup, then check the products again. "
            "Nothing is created twice."
        ),
    ),
    "internal_error": Code(
        Status.UNKNOWN_ERROR,
        500,
        _("Internal error."),
        hint=_("Retry; if it persists, see: logread -e stripe-payments"),
        user_hint=_("Try again. If it persists, the system log has details."),
    ),
}

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_NAME = re.compile(r"\{(\w+)\}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_DETAIL_CHARS = 200


class PaymentError(Exception):
    """An error that is returned to the caller.

    `details` fill the placeholders of its sentences; a `Text` among them is translated. Other details are for
    HTTP and the log (``retry_after`` in seconds, for instance).
    """

    def __init__(self, code: str, **details: object) -> None:
        self.code = code
        self.details: Mapping[str, object] = details
        self._entry = CODES[code]
        super().__init__(code, self.message)

    @property
    def message(self) -> str:
        """The message in English."""
        return self.message_in("en")

    @property
    def ubus_status(self) -> Status:
        """The status of the reply on ubus."""
        return self._entry.ubus

    @property
    def http_status(self) -> int:
        """The status of the reply over HTTP."""
        return self._entry.http

    def message_in(self, locale: str | None) -> str:
        """Return the message in the caller's language, as a complete sentence."""
        sentence = _fill(self._entry.message, self.details, locale)
        return sentence.replace("..", ".") if sentence.endswith((".", "?", "!", "…")) else f"{sentence}."

    def hint_in(self, locale: str | None) -> str | None:
        """Return what a program or an administrator in a shell can do; None where there is nothing to say."""
        return _fill(self._entry.hint or self._entry.user_hint, self.details, locale) or None

    def user_hint_in(self, locale: str | None) -> str:
        """Return what a person in LuCI, or a buyer, can do."""
        return _fill(self._entry.user_hint, self.details, locale)

    def body(self, locale: str | None = "en") -> ErrorBody:
        """Return the reply's body: ``{"error": {"code", "message", "hint", "user_hint"}}``; `hint` may be
        absent.
        """
        fields = {"code": self.code, "message": self.message_in(locale)}
        hint = self.hint_in(locale)
        if hint is not None:
            fields["hint"] = hint
        fields["user_hint"] = self.user_hint_in(locale)
        return {"error": fields}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def _fill(text: Text, details: Mapping[str, object], locale: str | None) -> str:
    def optional(part: re.Match[str]) -> str:
        inside = part.group(1)
        return inside if all(details.get(name) is not None for name in _NAME.findall(inside)) else ""

    def value(name: re.Match[str]) -> str:
        # A key pasted into the wrong field must not appear on a page or in a ticket.
        detail = redact(shown(details.get(name.group(1)), locale))
        # Input is echoed to a screen or a terminal: one line, no control characters, no surrogates.
        detail = _UNPRINTABLE.sub(" ", detail).strip()
        return detail if len(detail) <= _DETAIL_CHARS else detail[: _DETAIL_CHARS - 1] + "…"

    return _NAME.sub(value, _OPTIONAL.sub(optional, text.in_locale(locale)))
