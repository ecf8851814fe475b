"""Stripe's objects as fetched, by id: compressed in the file (flash is small and wears), parsed in memory."""

import json
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from stripe_payments.ledger.storage_errors import decoded_list, unpacked

__all__ = ["Objects"]

Raw = Mapping[str, Any]


class Objects:
    """Raw objects (dicts as Stripe's API sends them), with ids in place of what was expanded in them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._all: dict[str, Raw] | None = None

    def all(self) -> Mapping[str, Raw]:
        """All objects by id. The mapping is a snapshot: what is stored later is in another one, so the same
        mapping means that nothing has changed.
        """
        if self._all is None:
            rows = self._connection.execute("SELECT packed FROM objects ORDER BY id")
            # one document, so that the objects share the strings of their keys
            self._all = {raw["id"]: raw for raw in decoded_list(unpacked(packed) for (packed,) in rows)}
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
        changed: dict[str, Raw] = {}
        for raw in objects:
            object_id = raw.get("id")
            if not isinstance(object_id, str) or not isinstance(raw.get("object"), str):
                raise ValueError("a Stripe object has an id and an object type")
            if changed.get(object_id, stored.get(object_id)) != raw:
                changed[object_id] = raw
        self._connection.executemany(
            "INSERT OR REPLACE INTO objects (id, fetched_at, packed) VALUES (?, ?, ?)",
            [(object_id, fetched_at, _packed(raw)) for object_id, raw in changed.items()],
        )
        if changed:
            self._all = {**stored, **changed}
        return bool(changed)

    def delete(self, ids: Collection[str]) -> None:
        """Remove these objects."""
        self._connection.executemany("DELETE FROM objects WHERE id = ?", [(one,) for one in ids])
        self._all = {object_id: raw for object_id, raw in self.all().items() if object_id not in ids}

    def unchanged_since(self, moment: int) -> set[str]:
        """The ids of the objects that were last stored before a time (trusted epoch seconds)."""
        rows = self._connection.execute("SELECT id FROM objects WHERE fetched_at < ?", (moment,))
        return {object_id for (object_id,) in rows}

    def reload(self) -> None:
        """What was stored since the last commit has been rolled back."""
        self._all = None


def _packed(raw: Raw) -> bytes:
    return zlib.compress(json.dumps(raw, ensure_ascii=False, separators=(",", ":")).encode(), 9)
