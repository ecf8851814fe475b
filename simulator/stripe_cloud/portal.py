"""The customer portal: configurations, sessions, and what a customer does on the page.

https://docs.stripe.com/customer-management
"""

from __future__ import annotations

from .account import Account, merge_metadata
from .api_errors import Json, StripeApiError, invalid, not_simulated
from .billing import changes, collection, subscriptions
from .cards import TestCard
from .objects import customers
from .objects import portal as objects

ABOUT_A_SUBSCRIPTION = frozenset(
    {"subscription_cancel", "subscription_pause", "subscription_update", "subscription_update_confirm"}
)
"""Flow types whose parameters name a subscription, under a key of the same name."""


def default_configuration(account: Account) -> Json:
    """The one that counts when a session names none; made on first use, as if saved in the Dashboard."""
    for configuration in account.newest_first("billing_portal.configuration"):
        if configuration["is_default"]:
            return configuration
    return account.add(objects.configuration(account, {"features": objects.EVERYTHING_ON}, is_default=True))


def create_configuration(account: Account, params: Json) -> Json:
    _check_pause(params)
    configuration = account.add(objects.configuration(account, params, is_default=False))
    account.emit("billing_portal.configuration.created", configuration)
    return configuration


def update_configuration(account: Account, params: Json, configuration_id: str) -> Json:
    _check_pause(params)
    configuration = account.get("billing_portal.configuration", configuration_id)
    with account.changing(configuration, "billing_portal.configuration.updated"):
        for name, value in params.items():
            if name == "metadata":
                configuration["metadata"] = merge_metadata(configuration["metadata"], value)
            elif name == "features":
                for feature, settings in value.items():
                    configuration["features"][feature].update(settings)
            elif name == "business_profile":
                configuration["business_profile"].update({key: inner or None for key, inner in value.items()})
            elif name in configuration and name != "expand":
                configuration[name] = value if value != "" else None
        configuration["updated"] = account.now()
    return configuration


def _check_pause(params: Json) -> None:
    given = params.get("features", {}).get("subscription_pause", {})
    if given.get("enabled") and "duration" not in given:
        raise not_simulated("a pause in the portal that ends by itself, the default duration")


def create_session(account: Account, params: Json) -> Json:
    if "customer" not in params:
        raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
    customer = account.get("customer", params["customer"], param="customer")
    if customer.get("deleted"):
        raise invalid(f"No such customer: '{customer['id']}'", param="customer", code="resource_missing")
    if "configuration" in params:
        account.get("billing_portal.configuration", params["configuration"], param="configuration")
    flow = params.get("flow_data")
    target = flow["type"] if flow and flow["type"] in ABOUT_A_SUBSCRIPTION else None
    if flow and target:
        if target not in flow:
            raise invalid(f"Missing required param: flow_data[{target}].", code="parameter_missing")
        owner = account.get(
            "subscription", flow[target]["subscription"], param=f"flow_data[{target}][subscription]"
        )
        if owner["customer"] != customer["id"]:
            raise invalid(
                "This subscription belongs to another customer.", param=f"flow_data[{target}][subscription]"
            )
    configuration = params.get("configuration") or default_configuration(account)["id"]
    session = account.add(objects.session(account, params, configuration))
    account.emit("billing_portal.session.created", session)
    return session


# -- on the page


def change_payment_method(account: Account, customer: Json, card: TestCard) -> Json:
    """The customer's default, and that of each of their subscriptions, becomes `card`; returns the payment
    method.
    """
    billing = {"email": customer["email"], "name": customer["name"]}
    method = account.add(customers.payment_method(account, card, customer["id"], billing), card=card.number)
    account.emit("payment_method.attached", method)
    with account.changing(customer, "customer.updated"):
        customer["invoice_settings"]["default_payment_method"] = method["id"]
    for sub in list(account.newest_first("subscription")):
        if sub["customer"] == customer["id"] and sub["status"] not in subscriptions.ENDED:
            with account.changing(sub, "customer.subscription.updated"):
                sub["default_payment_method"] = method["id"]
    return method


def cancel(account: Account, sub: Json) -> None:
    """At the end of the period.  With flexible billing the portal sets `cancel_at` and not the older
    boolean.
    """
    if sub["billing_mode"]["type"] == "flexible":
        changes.update(account, sub, {"cancel_at": "min_period_end"})
    else:
        changes.update(account, sub, {"cancel_at_period_end": True})


def keep(account: Account, sub: Json) -> None:
    """Take a cancellation back."""
    changes.update(account, sub, {"cancel_at": ""})


def allowed(account: Account, session: Json, feature: str) -> bool:
    """Whether the session's configuration has a feature, such as `subscription_cancel`."""
    configuration = account.get("billing_portal.configuration", session["configuration"])
    return bool(configuration["features"][feature]["enabled"])


def pause(account: Account, sub: Json) -> None:
    """The customer pauses: the status is `paused`, as after the API's `/pause`."""
    if sub["status"] in {"active", "trialing", "past_due"}:
        subscriptions.pause(account, sub, "pause_requested")


def resume(account: Account, sub: Json) -> None:
    """The customer goes on, and pays for it."""
    if sub["status"] == "paused":
        subscriptions.resume(account, sub, {"payment_behavior": "resume_on_payment_success"})


def pay_open_invoices(account: Account, customer: Json) -> str | None:
    """Pay what is open with the default payment method; the bank's sentence if it refuses."""
    for invoice in list(account.newest_first("invoice")):
        if invoice["customer"] == customer["id"] and invoice["status"] == "open":
            try:
                collection.pay_now(account, invoice, None)
            except StripeApiError as error:
                return error.message
    return None
