"""Each feature's last entitlement, as the rest of the system was, or is being, notified of it; and an
administrator's grants.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import astuple
from typing import Final

from stripe_payments.entitlements import Entitlement, ManualGrant

__all__ = ["Features", "Grants"]

_COLUMNS: Final = "feature, unlocked, source, plan, until, reason"


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

    def replace(self, new: Mapping[str, Entitlement]) -> bool:
        """Make these the entitlements; whether one differs from before. What is the same is not written; a
        feature that is missing from `new` is locked.
        """
        before = self.all()
        after = {name: Entitlement(name) for name in before} | dict(new)
        different = [astuple(held) for name, held in after.items() if held != before.get(name)]
        self._connection.executemany(
            f"INSERT OR REPLACE INTO features ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
            different,
        )
        return bool(different)


class Grants:
    """Rows of `ManualGrant`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, grant: ManualGrant) -> None:
        """Store a grant, replacing an earlier one of the feature."""
        self._connection.execute(
            "INSERT OR REPLACE INTO grants (feature, until, note, granted_at) VALUES (?, ?, ?, ?)",
            (grant.feature, grant.until, grant.note, grant.granted_at),
        )

    def delete(self, feature: str) -> bool:
        """Revoke a grant; False if there was none."""
        return self._connection.execute("DELETE FROM grants WHERE feature = ?", (feature,)).rowcount == 1

    def all(self) -> list[ManualGrant]:
        """All grants, by feature."""
        rows = self._connection.execute(
            "SELECT feature, until, note, granted_at FROM grants ORDER BY feature"
        )
        return [ManualGrant(*row) for row in rows]


def _entitlement(row: sqlite3.Row) -> Entitlement:
    feature, unlocked, source, plan, until, reason = row
    return Entitlement(feature, bool(unlocked), source, plan, until, reason)
