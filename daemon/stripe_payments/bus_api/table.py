"""The object `stripe-payments`: every method that others may call, in one table.

Nothing is imported here but names: the object is on the bus before what does the work is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ubus_py import BOOLEAN, INT32, STRING, ArgType

OBJECT: Final = "stripe-payments"


@dataclass(frozen=True)
class BusMethod:
    """A row of the table; what it does is `methods.HANDLERS[name]`.

    `asks_stripe`: it may wait for the network. It then goes on by itself should its caller leave or lose
    patience, because half a purchase or half a refund is worse than an unheard answer.

    `always`: it answers also while the daemon cannot work, to tell why.
    """

    name: str
    args: Mapping[str, ArgType] = field(default_factory=dict)
    asks_stripe: bool = False
    always: bool = False


METHODS: Final = (
    BusMethod("status"),
    BusMethod("catalog"),
    BusMethod("features"),
    BusMethod("has", {"feature": STRING}),
    BusMethod("subscriptions"),
    BusMethod("transactions", {"limit": INT32, "before": STRING}),
    BusMethod("payment_status", {"payment_id": STRING}, asks_stripe=True),
    BusMethod(
        "create_checkout_session",
        {"price_id": STRING, "success_url": STRING, "cancel_url": STRING},
        asks_stripe=True,
    ),
    BusMethod("preview_change", {"subscription": STRING, "price_id": STRING}, asks_stripe=True),
    BusMethod("change_plan", {"subscription": STRING, "price_id": STRING}, asks_stripe=True),
    BusMethod("cancel_subscription", {"subscription": STRING, "at_period_end": BOOLEAN}, asks_stripe=True),
    BusMethod("resume_subscription", {"subscription": STRING}, asks_stripe=True),
    BusMethod("portal", {"return_url": STRING}, asks_stripe=True),
    BusMethod("sync", {"background": BOOLEAN}, asks_stripe=True),
    BusMethod("grants"),
    BusMethod("grant", {"feature": STRING, "until": STRING, "note": STRING}),
    BusMethod("revoke", {"feature": STRING}),
    BusMethod("refund", {"payment_id": STRING, "amount": INT32, "reason": STRING}, asks_stripe=True),
    BusMethod("check", asks_stripe=True, always=True),
    BusMethod("provision", {"dry_run": BOOLEAN, "replace": BOOLEAN}, asks_stripe=True),
    BusMethod("setup_webhook", {"url": STRING, "replace": BOOLEAN}, asks_stripe=True),
    BusMethod("set_keys", {"secret_key": STRING, "webhook_secret": STRING, "publishable_key": STRING}),
)
