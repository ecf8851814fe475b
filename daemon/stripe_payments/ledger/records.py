"""What the ledger keeps besides Stripe's objects and the queues: each feature's last entitlement, as the rest
of the system was, or is being, notified of it; an administrator's grants; the part of the history whose
objects are no longer stored; single values.
"""

import json
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import astuple
from typing import Final

from stripe_payments.entitlements import Entitlement, ManualGrant
from stripe_payments.payment_history import TransactionRow

__all__ = ["ArchivedHistory", "Features", "Grants", "Meta"]

_FEATURE: Final = "feature, unlocked, source, plan, until, reason"
_HISTORY: Final = "id, date, kind, amount, currency, status, description, receipt_url, invoice_pdf"


class Features:
    """Rows of `Entitlement`, by feature; kept in memory as well."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._all: dict[str, Entitlement] | None = None

    def all(self) -> Mapping[str, Entitlement]:
        """Every feature's entitlement, by name; a snapshot."""
        if self._all is None:
            rows = self._connection.execute(f"SELECT {_FEATURE} FROM features ORDER BY feature")  # noqa: S608
            self._all = {row[0]: _entitlement(row) for row in rows}
        return self._all

    def get(self, feature: str) -> Entitlement | None:
        """One feature's entitlement."""
        return self.all().get(feature)

    def replace(self, new: Mapping[str, Entitlement]) -> bool:
        """Make these the entitlements; whether one differs from before. What is the same is not written; a
        feature that is missing from `new` is locked.
        """
        before = self.all()
        after = {name: Entitlement(name) for name in before} | dict(new)
        different = [entitlement for name, entitlement in after.items() if entitlement != before.get(name)]
        for one in different:
            name, *values = astuple(one)
            if name in before:  # in its place: another row would be another page
                self._connection.execute(
                    "UPDATE features SET (unlocked, source, plan, until, reason) = (?, ?, ?, ?, ?)"
                    " WHERE feature = ?",
                    (*values, name),
                )
            else:
                self._connection.execute(
                    f"INSERT INTO features ({_FEATURE}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                    (name, *values),
                )
        if different:
            self._all = dict(sorted(after.items()))
        return bool(different)

    def reload(self) -> None:
        """What was stored since the last commit has been rolled back."""
        self._all = None


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


class ArchivedRows:
    """Rows as one compressed text, parsed whenever they are iterated: they become more over the years, and
    hardly anyone reads them.
    """

    __slots__ = ("_packed",)

    def __init__(self, rows: Iterable[TransactionRow] = ()) -> None:
        self._packed = zlib.compress(json.dumps([astuple(row) for row in rows]).encode())

    def __iter__(self) -> Iterator[TransactionRow]:
        return (TransactionRow(*fields) for fields in json.loads(zlib.decompress(self._packed)))


class ArchivedHistory:
    """Rows of `TransactionRow`. All other lines of the history follow from the objects."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._all: ArchivedRows | None = None

    def all(self) -> ArchivedRows:
        """All archived lines, in no order; a snapshot."""
        if self._all is None:
            rows = self._connection.execute(f"SELECT {_HISTORY} FROM history")  # noqa: S608
            self._all = ArchivedRows(TransactionRow(*row) for row in rows)
        return self._all

    def put(self, rows: Iterable[TransactionRow]) -> None:
        """Archive lines, replacing their earlier states."""
        self._connection.executemany(
            f"INSERT OR REPLACE INTO history ({_HISTORY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [astuple(row) for row in rows],
        )
        self._all = None

    def delete(self, ids: Collection[str]) -> None:
        """Remove the lines of these ids."""
        self._connection.executemany("DELETE FROM history WHERE id = ?", [(one,) for one in ids])
        self._all = None

    def reload(self) -> None:
        """What was stored since the last commit has been rolled back."""
        self._all = None


class Meta:
    """Text values by key."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, key: str) -> str | None:
        """The value, None if there is none."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set(self, key: str, value: str) -> None:
        """Store a value; one that is the same writes nothing."""
        self._connection.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
            (key, value),
        )

    def delete(self, key: str) -> None:
        """Delete a value."""
        self._connection.execute("DELETE FROM meta WHERE key = ?", (key,))


def _entitlement(row: sqlite3.Row) -> Entitlement:
    feature, unlocked, source, plan, until, reason = row
    return Entitlement(feature, bool(unlocked), source, plan, until, reason)
