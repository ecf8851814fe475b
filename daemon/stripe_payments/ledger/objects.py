"""Stripe's objects as they came, by id."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

__all__ = ["Objects"]


class Objects:
    """Raw objects (dicts as Stripe's API gives them) with the few columns that are searched."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, raw: Mapping[str, Any], fetched_at: int) -> None:
        """Store the object, replacing an earlier state of it. `fetched_at`: trusted epoch seconds, 0 if
        unknown.

        Raises ValueError for something that is no Stripe object (no ``id`` or ``object``).
        """
        object_id, kind = raw.get("id"), raw.get("object")
        if not isinstance(object_id, str) or not isinstance(kind, str):
            raise ValueError("a Stripe object has an id and an object type")
        created, status, customer = raw.get("created"), raw.get("status"), raw.get("customer")
        if isinstance(customer, Mapping):  # expanded
            customer = customer.get("id")
        self._connection.execute(
            "INSERT INTO objects (id, type, created, status, customer, fetched_at, raw)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET type = excluded.type, created = excluded.created,"
            " status = excluded.status, customer = excluded.customer, fetched_at = excluded.fetched_at,"
            " raw = excluded.raw",
            (
                object_id,
                kind,
                created if isinstance(created, int) else 0,
                status if isinstance(status, str) else None,
                customer if isinstance(customer, str) else None,
                fetched_at,
                json.dumps(raw, ensure_ascii=False, separators=(",", ":")),
            ),
        )

    def get(self, object_id: str) -> dict[str, Any] | None:
        """The object as last stored."""
        row = self._connection.execute("SELECT raw FROM objects WHERE id = ?", (object_id,)).fetchone()
        return None if row is None else _decoded(row[0])

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a type (``payment_intent``), newest first."""
        rows = self._connection.execute(
            "SELECT raw FROM objects WHERE type = ? ORDER BY created DESC, id DESC", (kind,)
        )
        return [_decoded(raw) for (raw,) in rows]

    def delete(self, object_id: str) -> None:
        """Forget an object."""
        self._connection.execute("DELETE FROM objects WHERE id = ?", (object_id,))

    def prune(self, kind: str, created_before: int) -> int:
        """Forget the objects of a type created before a time (epoch seconds); gives their number."""
        return self._connection.execute(
            "DELETE FROM objects WHERE type = ? AND created < ?", (kind, created_before)
        ).rowcount


def _decoded(raw: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(raw)
    return decoded
