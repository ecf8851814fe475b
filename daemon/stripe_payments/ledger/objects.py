"""Stripe's objects as they came, by id; compressed, for flash is small and wears."""

import json
import sqlite3
import zlib
from collections.abc import Mapping
from typing import Any, Final

from stripe_payments.ledger.corruption import unpacked

__all__ = ["Objects", "pack", "payment_of"]

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
        object_id, kind, created = raw.get("id"), raw.get("object"), raw.get("created")
        if not isinstance(object_id, str) or not isinstance(kind, str):
            raise ValueError("a Stripe object has an id and an object type")
        self._connection.execute(
            "INSERT OR REPLACE INTO objects (id, type, created, fetched_at, payment_intent, packed)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                object_id,
                kind,
                created if isinstance(created, int) else 0,
                fetched_at,
                _payment(raw) if kind == _SESSION else None,
                pack(json.dumps(raw, ensure_ascii=False, separators=(",", ":"))),
            ),
        )

    def get(self, object_id: str) -> dict[str, Any] | None:
        """The object as last stored."""
        row = self._connection.execute("SELECT packed FROM objects WHERE id = ?", (object_id,)).fetchone()
        return None if row is None else unpacked(row[0])

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a type (``payment_intent``), newest first."""
        return self.newest(kind, -1)

    def newest(self, kind: str, limit: int) -> list[dict[str, Any]]:
        """The newest objects of a type, at most `limit` (all of them if that is negative)."""
        rows = self._connection.execute(
            "SELECT packed FROM objects WHERE type = ? ORDER BY created DESC, id DESC LIMIT ?", (kind, limit)
        )
        return [unpacked(packed) for (packed,) in rows]

    def session_of(self, payment_intent: str) -> dict[str, Any] | None:
        """The Checkout session that was paid by a payment intent."""
        row = self._connection.execute(
            "SELECT packed FROM objects WHERE payment_intent = ? ORDER BY created DESC, id DESC LIMIT 1",
            (payment_intent,),
        ).fetchone()
        return None if row is None else unpacked(row[0])

    def delete(self, object_id: str) -> None:
        """Forget an object."""
        self._connection.execute("DELETE FROM objects WHERE id = ?", (object_id,))

    def drop_oldest(self, unchanged_since: int, kept: int, *, limit: int = 500) -> int:
        """Forget the oldest objects that were stored before a time and have not changed since, but of each
        type the newest `kept`; gives their number.
        """
        return self._connection.execute(
            "DELETE FROM objects WHERE id IN (SELECT id FROM (SELECT id, created, fetched_at, row_number()"
            " OVER (PARTITION BY type ORDER BY created DESC, id DESC) AS place FROM objects)"
            " WHERE fetched_at < ? AND place > ? ORDER BY created LIMIT ?)",
            (unchanged_since, kept, limit),
        ).rowcount


def pack(text: str) -> bytes:
    """An object's JSON as it is stored; also a function of SQL's."""
    return zlib.compress(text.encode(), 9)


def payment_of(packed: bytes) -> str | None:
    """The payment intent that a stored session names; a function of SQL's."""
    return _payment(unpacked(packed))


def _payment(session: Mapping[str, Any]) -> str | None:
    intent = session.get("payment_intent")
    if isinstance(intent, Mapping):  # expanded
        intent = intent.get("id")
    return intent if isinstance(intent, str) else None
