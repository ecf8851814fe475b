"""Stripe's objects as fetched, by id: compressed in the file (flash is small and wears), parsed in memory."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from stripe_payments.ledger.packing import pack, unpack
from stripe_payments.ledger.storage_errors import decoded

__all__ = ["Objects", "that_differ"]

Raw = Mapping[str, Any]


def that_differ(objects: Iterable[Raw], stored: Mapping[str, Raw]) -> dict[str, Raw]:
    """The objects, by id, that are new or differ from what is stored; the last state of each.

    Raises ValueError for something that is no Stripe object (no ``id`` or ``object``).
    """
    changed: dict[str, Raw] = {}
    for raw in objects:
        object_id = raw.get("id")
        if not isinstance(object_id, str) or not isinstance(raw.get("object"), str):
            raise ValueError("a Stripe object has an id and an object type")
        if changed.get(object_id, stored.get(object_id)) != raw:
            changed[object_id] = raw
    return changed


class Objects:
    """Raw objects (dicts as Stripe's API sends them), with ids in place of what was expanded in them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._all: dict[str, Raw] | None = None
        self._numbers: dict[str, int] = {}
        self._keys: dict[str, str] = {}

    def all(self) -> Mapping[str, Raw]:
        """All objects by id. The mapping is a snapshot: what is stored later is in another one, so the same
        mapping means that nothing has changed.
        """
        if self._all is None:
            rows = self._connection.execute("SELECT number, id, packed FROM objects ORDER BY id").fetchall()
            self._all = {object_id: self._shared(decoded(unpack(packed))) for _, object_id, packed in rows}
            self._numbers = {object_id: number for number, object_id, _ in rows}
        return self._all

    def get(self, object_id: str) -> Raw | None:
        """The object as last stored."""
        return self.all().get(object_id)

    def put(self, objects: Iterable[Raw], fetched_at: int) -> bool:
        """Store the objects, replacing earlier states of them; whether one differs from what was stored.
        What does not differ is not written. `fetched_at`: trusted epoch seconds, 0 if unknown.

        Raises ValueError for something that is no Stripe object (no ``id`` or ``object``).
        """
        stored = self.all()
        changed = that_differ(objects, stored)
        for object_id, raw in changed.items():
            number = self._numbers.get(object_id)  # None, of a new object, becomes the next one
            cursor = self._connection.execute(
                "INSERT OR REPLACE INTO objects (number, id, fetched_at, packed) VALUES (?, ?, ?, ?)",
                (number, object_id, fetched_at, pack(raw)),
            )
            self._numbers[object_id] = number or int(cursor.lastrowid or 0)
        if changed:
            self._all = {**stored, **{object_id: self._shared(raw) for object_id, raw in changed.items()}}
        return bool(changed)

    def delete(self, ids: Collection[str]) -> None:
        """Remove these objects."""
        numbers = [(self._numbers.pop(one),) for one in ids if one in self.all()]
        self._connection.executemany("DELETE FROM objects WHERE number = ?", numbers)
        self._all = {object_id: raw for object_id, raw in self.all().items() if object_id not in ids}

    def unchanged_since(self, moment: int) -> set[str]:
        """The ids of the objects that were last stored before a time (trusted epoch seconds)."""
        rows = self._connection.execute("SELECT id FROM objects WHERE fetched_at < ?", (moment,))
        return {object_id for (object_id,) in rows}

    def _shared(self, value: Any) -> Any:
        """The value with one string for each key that occurs in any object: almost half of the memory."""
        if isinstance(value, dict):
            keys = self._keys
            return {keys.setdefault(key, key): self._shared(inner) for key, inner in value.items()}
        return [self._shared(inner) for inner in value] if isinstance(value, list) else value

    def reload(self) -> None:
        """What was stored since the last commit has been rolled back."""
        self._all = None
