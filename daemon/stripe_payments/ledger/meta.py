"""Single values of the ledger: what the daemon stores besides its tables."""

import sqlite3

__all__ = ["Meta"]


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
