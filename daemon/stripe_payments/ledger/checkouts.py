"""The Checkout sessions that this router began: durable before the buyer is sent away."""

import sqlite3
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Checkout", "CheckoutState", "Checkouts"]

CheckoutState = Literal["creating", "open", "complete", "expired", "failed"]
Mode = Literal["payment", "subscription"]


@dataclass(frozen=True, slots=True)
class Checkout:
    """One attempt to buy. Times are epoch seconds; `session_id` and `url` are None while being created."""

    local_id: int
    idempotency_key: str
    price_alias: str
    price_id: str
    mode: Mode
    success_url: str
    cancel_url: str
    locale: str
    created_at: int
    session_id: str | None = None
    url: str | None = None
    state: CheckoutState = "creating"
    expires_at: int | None = None


_COLUMNS: Final = (
    "local_id, idempotency_key, price_alias, price_id, mode, success_url, cancel_url, locale, created_at,"
    " session_id, url, state, expires_at"
)


class Checkouts:
    """Rows of `Checkout`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(
        self,
        idempotency_key: str,
        price_alias: str,
        price_id: str,
        mode: Mode,
        success_url: str,
        cancel_url: str,
        locale: str,
        created_at: int,
    ) -> Checkout:
        """Record that a session is about to be created. Raises sqlite3.IntegrityError for a used key."""
        if self.by_key(idempotency_key) is not None:
            raise sqlite3.IntegrityError("UNIQUE constraint failed: checkouts.idempotency_key")
        row = self._connection.execute(
            "INSERT INTO checkouts (idempotency_key, price_alias, price_id, mode, success_url,"  # noqa: S608
            " cancel_url, locale, created_at, state)"
            f" VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'creating') RETURNING {_COLUMNS}",
            (idempotency_key, price_alias, price_id, mode, success_url, cancel_url, locale, created_at),
        ).fetchone()
        return Checkout(*row)

    def update(
        self,
        local_id: int,
        *,
        session_id: str | None = None,
        url: str | None = None,
        state: CheckoutState | None = None,
        expires_at: int | None = None,
    ) -> Checkout:
        """Record what is new; None leaves a column, and its index, as it is. Raises KeyError for an unknown
        checkout.
        """
        given = {"session_id": session_id, "url": url, "state": state, "expires_at": expires_at}
        new = {column: value for column, value in given.items() if value is not None}
        columns = ", ".join(f"{column} = ?" for column in new or ["local_id"])
        row = self._connection.execute(
            f"UPDATE checkouts SET {columns} WHERE local_id = ? RETURNING {_COLUMNS}",  # noqa: S608
            (*(new.values() or [local_id]), local_id),
        ).fetchone()
        if row is None:
            raise KeyError(local_id)
        return Checkout(*row)

    def by_session(self, session_id: str) -> Checkout | None:
        """The checkout of Stripe's session ``cs_…``."""
        return self._one("session_id = ?", session_id)

    def by_key(self, idempotency_key: str) -> Checkout | None:
        """The checkout begun under that idempotency key."""
        return self._one("idempotency_key = ?", idempotency_key)

    def open(self) -> list[Checkout]:
        """Those still creating or open, oldest first."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM checkouts WHERE state IN ('creating', 'open') ORDER BY local_id"  # noqa: S608
        )
        return [Checkout(*row) for row in rows]

    def latest(self, limit: int = 1) -> list[Checkout]:
        """The newest checkouts, whatever their state, newest first."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM checkouts ORDER BY local_id DESC LIMIT ?",  # noqa: S608
            (limit,),
        )
        return [Checkout(*row) for row in rows]

    def prune(self, created_before: int) -> int:
        """Delete checkouts that came to nothing, created before a time; returns their number. The last one
        stays: the next one's `local_id` is beyond it.
        """
        return self._connection.execute(
            "DELETE FROM checkouts WHERE state IN ('expired', 'failed') AND created_at < ?"
            " AND local_id < (SELECT max(local_id) FROM checkouts)",
            (created_before,),
        ).rowcount

    def _one(self, condition: str, value: str) -> Checkout | None:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM checkouts WHERE {condition}",  # noqa: S608
            (value,),
        ).fetchone()
        return None if row is None else Checkout(*row)
