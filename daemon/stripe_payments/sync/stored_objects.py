"""How Stripe's objects are stored: each on its own, whatever it was expanded in when it was fetched. Pure.

So the newest fetch of each part counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Raw = Mapping[str, Any]

_OWN_ROW: Final = {"payment_intent", "latest_charge", "subscription", "latest_invoice", "invoice"}
"""The expandable fields whose objects are stored by themselves; so are a charge's `refunds`."""


def flatten(root: Raw) -> list[dict[str, Any]]:
    """The object and those expanded in it, each with ids in place of the others."""
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


def _is_object(value: Raw) -> bool:
    return isinstance(value.get("id"), str) and isinstance(value.get("object"), str)
