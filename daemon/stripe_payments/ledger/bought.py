"""What was bought: subscriptions, one-time purchases and an administrator's grants, as the entitlements want
them.
"""

import sqlite3
from collections.abc import Collection, Iterable
from typing import Final, Literal, TypeAlias

from stripe_payments.entitlements import ManualGrant, Purchase, Subscription

__all__ = ["Grants", "Purchases", "Subscriptions"]

DisputeState: TypeAlias = Literal["open", "won", "lost"]

_PURCHASE: Final = "id, price_id, price_alias, product, paid, fully_refunded, dispute, paid_at"
_SUBSCRIPTION: Final = (
    "id, status, price_id, price_alias, plan, current_period_end, cancel_at, cancel_at_period_end, trial_end,"
    " paused_collection, past_due_since, returned"
)


class Purchases:
    """Rows of `Purchase`, by Checkout session."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, purchase: Purchase) -> None:
        """Store a purchase, replacing its earlier state."""
        self._connection.execute(
            f"INSERT OR REPLACE INTO purchases ({_PURCHASE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (
                purchase.id,
                purchase.price_id,
                purchase.price_alias,
                purchase.product,
                purchase.paid,
                purchase.fully_refunded,
                purchase.dispute,
                purchase.paid_at,
            ),
        )

    def get(self, session_id: str) -> Purchase | None:
        """The purchase of a Checkout session."""
        row = self._connection.execute(
            f"SELECT {_PURCHASE} FROM purchases WHERE id = ?",  # noqa: S608
            (session_id,),
        ).fetchone()
        return None if row is None else _purchase(row)

    def all(self) -> list[Purchase]:
        """All purchases, by id."""
        rows = self._connection.execute(f"SELECT {_PURCHASE} FROM purchases ORDER BY id")  # noqa: S608
        return [_purchase(row) for row in rows]

    def deciding(self, sources: Collection[str] = ()) -> list[Purchase]:
        """The purchases that entitlements depend on, by id: as `all` for them, however many there were.

        Those that are paid or may yet be; of those that were given back or lost, which say the same of the
        same price, the first; and those that `sources` name.
        """
        return [_purchase(row) for row in _deciding(self._connection, "purchases", _PURCHASE, sources)]

    def disputes(self, session_ids: Collection[str]) -> dict[str, DisputeState | None]:
        """The disputes of these sessions' purchases, as far as they are known."""
        marks = ", ".join("?" * len(session_ids))
        rows = self._connection.execute(
            f"SELECT id, dispute FROM purchases WHERE id IN ({marks})",  # noqa: S608
            tuple(session_ids),
        )
        return dict(rows.fetchall())

    def delete(self, session_id: str) -> None:
        """Forget a purchase."""
        self._connection.execute("DELETE FROM purchases WHERE id = ?", (session_id,))


class Subscriptions:
    """Rows of `Subscription`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, subscription: Subscription) -> None:
        """Store a subscription, replacing its earlier state."""
        self._connection.execute(
            f"INSERT OR REPLACE INTO subscriptions ({_SUBSCRIPTION})"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                subscription.id,
                subscription.status,
                subscription.price_id,
                subscription.price_alias,
                subscription.plan,
                subscription.current_period_end,
                subscription.cancel_at,
                subscription.cancel_at_period_end,
                subscription.trial_end,
                subscription.paused_collection,
                subscription.past_due_since,
                subscription.returned,
            ),
        )

    def get(self, subscription_id: str) -> Subscription | None:
        """The subscription ``sub_…``."""
        row = self._connection.execute(
            f"SELECT {_SUBSCRIPTION} FROM subscriptions WHERE id = ?",  # noqa: S608
            (subscription_id,),
        ).fetchone()
        return None if row is None else _subscription(row)

    def all(self) -> list[Subscription]:
        """All subscriptions, by id."""
        rows = self._connection.execute(f"SELECT {_SUBSCRIPTION} FROM subscriptions ORDER BY id")  # noqa: S608
        return [_subscription(row) for row in rows]

    def standing(self) -> list[Subscription]:
        """Those that have not ended for good, by id."""
        rows = self._connection.execute(
            f"SELECT {_SUBSCRIPTION} FROM subscriptions WHERE settled_as IS NULL ORDER BY id"  # noqa: S608
        )
        return [_subscription(row) for row in rows]

    def any(self) -> bool:
        """Whether there ever was one."""
        return self._connection.execute("SELECT 1 FROM subscriptions LIMIT 1").fetchone() is not None

    def deciding(self, sources: Collection[str] = ()) -> list[Subscription]:
        """The subscriptions that entitlements depend on, by id: as `all` for them, however many there were.

        Those that have not ended; of those that have, and say the same of the same price, the first; and
        those that `sources` name.
        """
        return [
            _subscription(row) for row in _deciding(self._connection, "subscriptions", _SUBSCRIPTION, sources)
        ]

    def delete(self, subscription_id: str) -> None:
        """Forget a subscription."""
        self._connection.execute("DELETE FROM subscriptions WHERE id = ?", (subscription_id,))


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
        """Take a grant back; False if there was none."""
        return self._connection.execute("DELETE FROM grants WHERE feature = ?", (feature,)).rowcount == 1

    def all(self) -> list[ManualGrant]:
        """All grants, by feature."""
        rows = self._connection.execute(
            "SELECT feature, until, note, granted_at FROM grants ORDER BY feature"
        )
        return [ManualGrant(*row) for row in rows]


def _deciding(
    connection: sqlite3.Connection, table: str, columns: str, sources: Collection[str]
) -> Iterable[sqlite3.Row]:
    """Hops from one `settled_as` to the next in the index, so that it reads a row a kind, not a row a row."""
    marks = ", ".join("?" * len(sources))
    return connection.execute(
        f"""
        WITH RECURSIVE kinds (kind) AS (
            SELECT min(settled_as) FROM {table} WHERE settled_as IS NOT NULL
            UNION ALL
            SELECT (SELECT min(settled_as) FROM {table} WHERE settled_as > kind) FROM kinds
            WHERE kind IS NOT NULL
        )
        SELECT {columns} FROM {table} WHERE id IN (
            SELECT id FROM {table} WHERE settled_as IS NULL
            UNION SELECT (SELECT min(id) FROM {table} WHERE settled_as = kind) FROM kinds
            UNION SELECT id FROM {table} WHERE id IN ({marks})
        ) ORDER BY id
        """,  # noqa: S608
        tuple(sources),
    )


def _purchase(row: sqlite3.Row) -> Purchase:
    values = list(row)
    values[4:6] = map(bool, values[4:6])
    return Purchase(*values)


def _subscription(row: sqlite3.Row) -> Subscription:
    values = list(row)
    values[7], values[9] = bool(values[7]), bool(values[9])
    return Subscription(*values)
