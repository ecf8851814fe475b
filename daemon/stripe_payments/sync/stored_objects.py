"""How Stripe's objects lie in the ledger: each on its own, whatever it was expanded in when it came.

So the newest fetch of a part counts, and the whole can be put together without asking Stripe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Raw = Mapping[str, Any]


def flatten(root: Raw) -> list[dict[str, Any]]:
    """The object and those expanded in it, each on its own with ids in place of the others: one row an
    object.
    """
    kept: list[dict[str, Any]] = []

    def take(raw: Raw) -> str:
        flat: dict[str, Any] = {}
        for name, value in raw.items():
            if isinstance(value, Mapping) and _is_object(value):
                flat[name] = take(value) if name in _OWN_ROW else dict(value)
            elif isinstance(value, Mapping) and name == "refunds":
                flat[name] = {**value, "data": [take(refund) for refund in value.get("data", [])]}
            else:
                flat[name] = value
        kept.append(flat)
        return str(raw["id"])

    take(root)
    return kept


def assemble(
    get: Callable[[str], Raw | None], root_id: str, above: frozenset[str] = frozenset()
) -> dict[str, Any] | None:
    """What `flatten` took apart, put together again from the rows that `get` gives; None if the root is not
    there.

    `above`: what contains the root. A charge names its payment intent, which contains it: there the id stays.
    """
    root = get(root_id)
    if root is None:
        return None
    whole = dict(root)
    for name in _OWN_ROW:
        inner = whole.get(name)
        if not isinstance(inner, str) or inner in above:
            continue
        if (found := assemble(get, inner, above | {root_id})) is not None:
            whole[name] = found
    refunds = whole.get("refunds")
    if isinstance(refunds, Mapping):
        held = [get(refund) for refund in refunds.get("data", []) if isinstance(refund, str)]
        whole["refunds"] = {**refunds, "data": [refund for refund in held if refund is not None]}
    return whole


_OWN_ROW: Final = {"payment_intent", "latest_charge", "subscription", "latest_invoice", "invoice"}


def _is_object(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("id"), str) and isinstance(value.get("object"), str)
