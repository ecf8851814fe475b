"""What `check` says, as a person in either language reads it."""

from __future__ import annotations

from typing import Any

from tests.unit.stripe_payments.harness import Harness


async def row(harness: Harness, name: str, locale: str = "en") -> Any:
    """One check's row; the whole reply has the promised shape."""
    reply = await harness.call("check", locale=locale)
    for one in reply["checks"]:
        assert set(one) == {"id", "ok", "severity", "detail", "hint"}
        assert one["ok"] is (one["severity"] in ("ok", "info"))
        assert one["detail"]
        assert one["hint"] or one["ok"], one
    (found,) = [one for one in reply["checks"] if one["id"] == name]
    return found


async def finding(harness: Harness, name: str, severity: str, *, says: str = "", hint: str = "") -> None:
    """The check `name` finds a fault of that severity, and says so in both languages, with a remedy."""
    english, italian = await row(harness, name, "en"), await row(harness, name, "it")
    assert english["severity"] == italian["severity"] == severity, english
    assert says in english["detail"], english
    assert hint in english["hint"], english
    assert english["detail"] != italian["detail"]
    if english["hint"]:
        assert english["hint"] != italian["hint"]
        assert italian["hint"]


async def fine(harness: Harness, name: str) -> None:
    """The check `name` finds nothing to do."""
    english, italian = await row(harness, name, "en"), await row(harness, name, "it")
    assert english["severity"] == italian["severity"] == "ok", english
    assert english["detail"] != italian["detail"] or name == "dns"
