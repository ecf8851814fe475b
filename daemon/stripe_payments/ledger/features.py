"""The last entitlement of every feature: what the rest of the system was, or is being, told."""

import sqlite3
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Final

from stripe_payments.entitlements import Entitlement

__all__ = ["FeatureChange", "Features"]

_COLUMNS: Final = "feature, unlocked, source, plan, until, reason"


@dataclass(frozen=True, slots=True)
class FeatureChange:
    """A feature before and after; `before` is None for one that was never heard of."""

    before: Entitlement | None
    after: Entitlement

    @property
    def flipped(self) -> bool:
        """Whether it was unlocked or locked, rather than only being described anew."""
        return self.after.unlocked != (self.before is not None and self.before.unlocked)

    @property
    def notable(self) -> bool:
        """Whether listeners are told: it flipped, or another source or reason holds it now (not: a later
        `until`).
        """
        before = self.before or Entitlement(self.after.feature)
        return (self.after.unlocked, self.after.source, self.after.reason) != (
            before.unlocked,
            before.source,
            before.reason,
        )

    def payload(self) -> dict[str, object]:
        """What the outbox keeps of it (kind ``feature``), in as little as it takes: all that one purchase
        unlocks should lie in one page. Without them, `flipped` and `notable` are true, `until` is not known.
        """
        after = self.after
        payload: dict[str, object] = {
            "feature": after.feature,
            "unlocked": after.unlocked,
            "source": after.source,
            "plan": after.plan,
            "reason": after.reason,
        }
        if after.until is not None:
            payload["until"] = after.until
        for name in ("flipped", "notable"):
            if not getattr(self, name):
                payload[name] = False
        return payload


class Features:
    """Rows of `Entitlement`, by feature."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self) -> dict[str, Entitlement]:
        """Every feature's entitlement, by name."""
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM features ORDER BY feature")  # noqa: S608
        return {row[0]: _entitlement(row) for row in rows}

    def get(self, feature: str) -> Entitlement | None:
        """One feature's entitlement."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM features WHERE feature = ?",  # noqa: S608
            (feature,),
        ).fetchone()
        return None if row is None else _entitlement(row)

    def replace(self, new: Mapping[str, Entitlement]) -> list[FeatureChange]:
        """Make these the entitlements, and give the real changes, by name; what is the same is not written.

        A feature that is new and locked for no reason is no change. One that is missing from `new` is locked.
        """
        before = self.all()
        changes = []
        for name in sorted(before.keys() | new.keys()):
            old, after = before.get(name), new.get(name) or Entitlement(name)
            if after == old:
                continue
            self._connection.execute(
                f"INSERT OR REPLACE INTO features ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                astuple(after),
            )
            if old is not None or after != Entitlement(name):
                changes.append(FeatureChange(old, after))
        return changes


def _entitlement(row: sqlite3.Row) -> Entitlement:
    feature, unlocked, source, plan, until, reason = row
    return Entitlement(feature, bool(unlocked), source, plan, until, reason)
