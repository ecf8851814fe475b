"""Stripe's objects as they came, by id. Those of things that ended long ago are kept compressed."""

import json
import sqlite3
import zlib
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Objects", "member_of"]

_SESSION: Final = "checkout.session"


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
        created, status = raw.get("created"), raw.get("status")
        self._connection.execute(
            "INSERT INTO objects (id, type, created, status, customer, payment_intent, fetched_at, raw)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET type = excluded.type, created = excluded.created,"
            " status = excluded.status, customer = excluded.customer,"
            " payment_intent = excluded.payment_intent, fetched_at = excluded.fetched_at,"
            " raw = excluded.raw, packed = NULL",
            (
                object_id,
                kind,
                created if isinstance(created, int) else 0,
                status if isinstance(status, str) else None,
                _reference(raw, "customer"),
                _reference(raw, "payment_intent") if kind == _SESSION else None,
                fetched_at,
                json.dumps(raw, ensure_ascii=False, separators=(",", ":")),
            ),
        )

    def get(self, object_id: str) -> dict[str, Any] | None:
        """The object as last stored."""
        row = self._connection.execute(
            "SELECT raw, packed FROM objects WHERE id = ?", (object_id,)
        ).fetchone()
        return None if row is None else _decoded(*row)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a type (``payment_intent``), newest first."""
        return self.newest(kind, -1)

    def newest(self, kind: str, limit: int) -> list[dict[str, Any]]:
        """The newest objects of a type, at most `limit` (all of them if that is negative)."""
        rows = self._connection.execute(
            "SELECT raw, packed FROM objects WHERE type = ? ORDER BY created DESC, id DESC LIMIT ?",
            (kind, limit),
        )
        return [_decoded(*row) for row in rows]

    def session_of(self, payment_intent: str) -> dict[str, Any] | None:
        """The Checkout session that was paid by a payment intent."""
        row = self._connection.execute(
            "SELECT raw, packed FROM objects WHERE payment_intent = ? ORDER BY created DESC, id DESC LIMIT 1",
            (payment_intent,),
        ).fetchone()
        return None if row is None else _decoded(*row)

    def delete(self, object_id: str) -> None:
        """Forget an object."""
        self._connection.execute("DELETE FROM objects WHERE id = ?", (object_id,))

    def pack(self, unchanged_since: int, *, limit: int = 200) -> int:
        """Compress what was stored before a time and has not changed since; gives the number of objects.

        Nothing is lost by it: they read the same, and one that Stripe changes after all is stored anew.
        """
        rows = self._connection.execute(
            "SELECT id, raw FROM objects WHERE fetched_at < ? AND packed IS NULL LIMIT ?",
            (unchanged_since, limit),
        ).fetchall()
        self._connection.executemany(
            "UPDATE objects SET raw = '', packed = ? WHERE id = ?",
            [(zlib.compress(raw.encode(), 9), object_id) for object_id, raw in rows],
        )
        return len(rows)

    def drop_oldest(self, kept: int, *, limit: int = 500) -> int:
        """Forget the oldest compressed objects, but of each type the newest `kept`; gives their number."""
        return self._connection.execute(
            "DELETE FROM objects WHERE id IN (SELECT id FROM (SELECT id, created, packed, row_number()"
            " OVER (PARTITION BY type ORDER BY created DESC, id DESC) AS place FROM objects)"
            " WHERE packed IS NOT NULL AND place > ? ORDER BY created LIMIT ?)",
            (kept, limit),
        ).rowcount


def member_of(raw: str, packed: bytes | None, name: str) -> str | None:
    """The id that a stored object's member is, or that of the object expanded there; a function of SQL's."""
    return _reference(_decoded(raw, packed), name)


def _reference(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if isinstance(value, Mapping):  # expanded
        value = value.get("id")
    return value if isinstance(value, str) else None


def _decoded(raw: str, packed: bytes | None) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(raw if packed is None else zlib.decompress(packed))
    return decoded
