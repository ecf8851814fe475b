"""When an event's payload may serve instead of fetching its object.

Only where it is certainly what a fetch would bring or newer: a subscription that is stored, an event of a
later second than what is stored, the only one of its second, in our API version, with all its items, and
nothing beside it that can have changed without an event: its latest invoice is stored and final. Anything
else is fetched: the same second (no order is known within one), a deletion, an old delivery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from payments_hub.inbox import Payload
from stripe_payments.stripe_api.validation import Expected, MalformedResponseError, read_response
from stripe_payments.sync.raw_fields import reference

__all__ = ["APPLICABLE", "applicable"]

APPLICABLE: Final = frozenset(
    {
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "customer.subscription.updated",
    }
)
"""The types of events whose payloads are stored."""
_OLDEST_S: Final = 900
"""Seconds after which an event says too little about the present: a delivery may come days late."""
_FINAL: Final = frozenset({"paid", "void"})
"""https://docs.stripe.com/invoicing/overview#invoice-statuses: no other status follows."""

_Raw = Mapping[str, Any]


def applicable(
    object_id: str,
    payloads: Sequence[Payload | None],
    stored: Mapping[str, _Raw],
    as_of: int | None,
    version: str,
    now: int,
) -> tuple[_Raw, int] | None:
    """The object to store, and as of which second it is; None where it has to be fetched. `payloads`: of all
    events of the object that wait, None for one without; `stored`: the account's objects; `as_of`: the second
    after which nothing is in this one, None where that is not known.
    """
    if object_id not in stored or as_of is None:
        return None
    given = [one for one in payloads if one is not None]
    if len(given) < len(payloads) or not given:
        return None
    newest = max(given, key=lambda one: one.created)
    if newest.created <= max(as_of, now - _OLDEST_S) or newest.api_version != version:
        return None
    if sum(one.created == newest.created for one in given) > 1:
        return None
    try:
        raw = read_response(newest.text, Expected("subscription", object_id=object_id))
    except MalformedResponseError:
        return None
    invoice = stored.get(reference(raw.get("latest_invoice")) or "")
    items = raw.get("items")
    whole = isinstance(items, Mapping) and items.get("has_more") is False
    if not whole or invoice is None or invoice.get("status") not in _FINAL:
        return None
    # an expanded one would be stored as it was then, though only the subscription is newer
    return (raw, newest.created) if isinstance(raw.get("latest_invoice"), str) else None
