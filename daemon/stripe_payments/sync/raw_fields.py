"""Fields of an object as Stripe sends it, where any of them may be missing or of another type. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Raw = Mapping[str, Any]


def reference(value: object) -> str | None:
    """The id in an expandable field, expanded or not."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, Mapping):
        found = value.get("id")
        return found if isinstance(found, str) else None
    return None


def expanded(value: object) -> Raw | None:
    """The object in an expandable field; None where there is only its id, or nothing."""
    return value if isinstance(value, Mapping) else None


def integer(value: object) -> int | None:
    """The value if it is a whole number, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def metadata(raw: Raw) -> dict[str, str]:
    found = raw.get("metadata")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}


def subscription_details(invoice: Raw) -> Raw:
    """What an invoice says of the subscription that it is for; empty for another invoice."""
    parent = expanded(invoice.get("parent")) or {}
    return expanded(parent.get("subscription_details")) or {}


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def entries(value: object) -> list[Raw]:
    """The entries of a list object; none where there is no list."""
    found = value.get("data") if isinstance(value, Mapping) else None
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []
