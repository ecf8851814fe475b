"""When an event's payload may serve instead of fetching its object.

Only where it is certainly what a fetch would bring or newer: a subscription that is stored, an event of a
later second than what is stored, the only one of its second, in our API version, with all its items, and
nothing beside it that can have changed without an event: it runs, as before, and its latest invoice is stored
as paid, which is final. Anything else is fetched: the same second (no order is known within one), a deletion,
an old delivery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from payments_hub.inbox import Payload
from stripe_payments.stripe_api.validation import Expected, MalformedResponseError, read_response

__all__ = ["APPLICABLE", "applicable"]

APPLICABLE: Final = frozenset({"customer.subscription.updated"})
"""The types of events whose payloads are stored."""
_RUNNING: Final = ("active", "trialing")
"""Of a plan that owes, a fetch brings all invoices that it owes."""
_OLDEST_S: Final = 900
"""Seconds after which an event says too little about the present: a delivery may come days late."""
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
    held = stored.get(object_id)
    if held is None or as_of is None or held.get("status") not in _RUNNING:
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
    items, latest = raw.get("items"), raw.get("latest_invoice")
    if not isinstance(items, Mapping) or items.get("has_more") is not False:
        return None
    if raw.get("status") not in _RUNNING or not isinstance(latest, str):
        return None  # an expanded invoice would be stored as it was then, though only the plan is newer
    return (raw, newest.created) if stored.get(latest, {}).get("status") == "paid" else None
