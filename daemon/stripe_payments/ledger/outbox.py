"""What the rest of the system has still to be told, in order. Written with the change itself, so neither is
lost.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from stripe_payments.ledger.corruption import decoded

__all__ = ["TOLD", "Effect", "EffectKind", "Outbox"]

EffectKind = Literal["feature", "payment", "subscription"]

TOLD: Final = 3
"""The step from which on nothing of an effect waits any more; it may be kept a while all the same."""

_ERROR_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing to tell; `step` counts what of it has been told already."""

    id: int
    kind: EffectKind
    payload: dict[str, Any]
    step: int


class Outbox:
    """Rows of `Effect`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, kind: EffectKind, payload: Mapping[str, Any]) -> int:
        """Queue an effect; gives its number. It leaves only once the transaction is durable."""
        cursor = self._connection.execute(
            "INSERT INTO outbox (kind, payload) VALUES (?, ?)",
            (kind, json.dumps(payload, ensure_ascii=False, separators=(",", ":"))),
        )
        return int(cursor.lastrowid or 0)

    def pending(self, limit: int) -> list[Effect]:
        """The oldest effects that are not told or parked, in the order they were added."""
        return self._effects("parked = 0 AND step < ? ORDER BY id LIMIT ?", TOLD, limit)

    def told_from(self, step: int) -> list[Effect]:
        """The effects that have been told up to `step` at least, in the order they were added."""
        return self._effects("step >= ? ORDER BY id", step)

    def _effects(self, which: str, *values: int) -> list[Effect]:
        rows = self._connection.execute(
            f"SELECT id, kind, payload, step FROM outbox WHERE {which}",  # noqa: S608
            values,
        )
        return [Effect(number, kind, decoded(payload), step) for number, kind, payload, step in rows]

    def pending_count(self) -> int:
        """How many effects wait, parked ones included."""
        waiting = self._connection.execute("SELECT count(*) FROM outbox WHERE step < ?", (TOLD,))
        return int(waiting.fetchone()[0])

    def advance(self, ids: Iterable[int], step: int) -> None:
        """Note that these effects have been told up to `step`."""
        self._connection.executemany(
            "UPDATE outbox SET step = ? WHERE id = ?", [(step, number) for number in ids]
        )

    def done(self, effect_id: int) -> None:
        """Told wholly: forget it."""
        self._connection.execute("DELETE FROM outbox WHERE id = ?", (effect_id,))

    def park(self, effect_id: int, error: str) -> None:
        """Can never be told as it is: keep it out of the others' way, for the log and the next start."""
        self._connection.execute(
            "UPDATE outbox SET parked = 1, error = ? WHERE id = ?", (error[:_ERROR_CHARS], effect_id)
        )

    def unpark(self) -> int:
        """Try the parked ones once more (at a start: the other side may have been mended); gives their
        number.
        """
        return self._connection.execute("UPDATE outbox SET parked = 0 WHERE parked = 1").rowcount
