"""`pending_if_incomplete`: a change that waits for its payment.
https://docs.stripe.com/billing/subscriptions/pending-updates
"""

from __future__ import annotations

from copy import deepcopy

from ..account import Account
from ..api_errors import Json
from ..clock import HOUR
from ..objects import billing as objects
from . import invoicing

LASTS = 23 * HOUR

ALLOWED = frozenset(
    [
        "expand",
        "items",
        "off_session",
        "payment_behavior",
        "proration_behavior",
        "proration_date",
        "billing_cycle_anchor",
        "trial_end",
        "trial_from_plan",
        "add_invoice_items",
        "discounts",
    ]
)
"""Only these parameters may come along with `payment_behavior=pending_if_incomplete`."""


SUPPORTED = frozenset({"card", "link", "paypal", "satispay", "klarna"})
"""Types of payment methods, of those that are simulated; not the debits of a bank account."""


def is_supported(account: Account, sub: Json) -> bool:
    """Whether a change of the subscription can wait for its payment."""
    customer = account.get("customer", sub["customer"])
    default = (customer.get("invoice_settings") or {}).get("default_payment_method")
    method = account.find(sub["default_payment_method"] or default)
    return method is None or method["type"] in SUPPORTED


def hold(account: Account, sub: Json, after: Json, invoice: Json) -> None:
    """The payment failed: the subscription stays as it is, and shows what it would become."""
    account.behind(sub["id"])["pending"] = {"invoice": invoice["id"], "after": deepcopy(after)}
    expires_at = account.now() + LASTS
    with account.changing(sub, "customer.subscription.updated"):
        sub["pending_update"] = {
            "billing_cycle_anchor": None,
            "expires_at": expires_at,
            "subscription_items": deepcopy(after["items"]["data"]),
            "trial_end": None,
            "trial_from_plan": None,
        }
    account.schedule(expires_at, "expire_pending_update", sub["id"])


def apply_if_paid(account: Account, sub: Json, invoice: Json) -> bool:
    """The invoice of a pending update was paid after all."""
    pending = account.behind(sub["id"]).get("pending")
    if not pending or pending["invoice"] != invoice["id"]:
        return False
    del account.behind(sub["id"])["pending"]
    with account.changing(sub, "customer.subscription.updated"):
        take_over(sub, pending["after"])
        sub["pending_update"] = None
    account.emit("customer.subscription.pending_update_applied", sub)
    return True


def expire(account: Account, sub: Json) -> None:
    """It was not paid in time: the invoice is void, the subscription stays what it was."""
    pending = account.behind(sub["id"]).get("pending")
    if not pending or not sub["pending_update"] or sub["pending_update"]["expires_at"] > account.now():
        return
    del account.behind(sub["id"])["pending"]
    invoice = account.get("invoice", pending["invoice"])
    if invoice["status"] == "open":
        invoicing.void(account, invoice)
    with account.changing(sub, "customer.subscription.updated"):
        sub["pending_update"] = None
    account.emit("customer.subscription.pending_update_expired", sub)


def take_over(sub: Json, after: Json) -> None:
    """The parts of a subscription that a change of items or cycle touches."""
    sub["items"] = objects.items_list(sub["id"], after["items"]["data"])
    for name in ("billing_cycle_anchor", "status", "trial_start", "trial_end"):
        sub[name] = after[name]
