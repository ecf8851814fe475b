"""The ledger of one account in PostgreSQL: what `stripe_payments.ledger.interface` describes.

Every function given to `write` or `read` is one transaction on the account's own connection, run in a thread.
The transaction's setting `hub.account` limits what row-level security shows; the queries name the account as
well. A transaction that changes what a router shows raises the account's version and notifies the instances
whose routers wait for that.

An account is used through `Accounts.open` alone, which holds its lock: so no other one writes meanwhile, and
what was read stays true between two transactions.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any, Final, TypeVar

import psycopg

from stripe_payments.entitlements import Entitlement, ManualGrant
from stripe_payments.errors import PaymentError
from stripe_payments.identity import Identity
from stripe_payments.ledger.checkouts import Checkout, CheckoutState, Mode
from stripe_payments.ledger.objects import that_differ
from stripe_payments.ledger.packing import pack, unpack
from stripe_payments.ledger.storage_errors import decoded
from stripe_payments.log import Log
from stripe_payments.payment_history import TransactionRow
from stripe_payments.stripe_api import object_kind

__all__ = [
    "CHANGED",
    "DOUBT_S",
    "FEATURES",
    "GRANTS",
    "HISTORY",
    "NEXT_VERSION",
    "OBJECTS",
    "AccountLedger",
    "AccountTransaction",
    "notify",
]

_log = Log("account_ledger")

_T = TypeVar("_T")
_Raw = Mapping[str, Any]
_Connection = psycopg.Connection[tuple[Any, ...]]

CHANGED: Final = "account_changed"
"""The channel of the notification; its payload is the account, or several with commas between them."""

_NOTIFIED: Final = 200
"""Accounts in one notification, which PostgreSQL limits to 8000 bytes."""

NEXT_VERSION: Final = "greatest(version + 1, extract(epoch FROM clock_timestamp())::bigint)"
"""Of an account, in SQL. By the clock, so that a database that was restored from an old backup gives no
version for the second time: a router that has it would never get the state.
"""


DOUBT_S: Final = 5
"""Seconds by which our clock may be behind Stripe's when an answer has arrived: its Date is that of a second
that has begun, and was a while on its way.
"""


class AccountLedger:
    """Use it from the event loop that made it; calls at the same time run one after another."""

    def __init__(self, connection: _Connection, account: str) -> None:
        self._connection = connection
        self._account = account
        self._one_at_a_time = threading.Lock()

    async def write(self, function: Callable[[AccountTransaction], _T], *, durable: bool = True) -> _T:
        return await asyncio.to_thread(self.run, function, writes=True, durable=durable)

    async def read(self, function: Callable[[AccountTransaction], _T]) -> _T:
        return await asyncio.to_thread(self.run, function)

    def run(
        self, function: Callable[[AccountTransaction], _T], *, writes: bool = False, durable: bool = True
    ) -> _T:
        """As `write` and `read`, for a caller in a thread."""
        with self._one_at_a_time:
            try:
                with self._connection.transaction():
                    tx = self._begin(writes=writes, durable=durable)
                    result = function(tx)
                    if tx.finish():
                        notify(self._connection, [self._account])
                    return result
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                _log.error("database failed", reason=str(error).partition("\n")[0])
                raise PaymentError("ledger_unavailable", reason=type(error).__name__) from error

    def wait_until_idle(self) -> None:
        """Return when no function runs any more: one whose caller was cancelled still does, in its thread."""
        with self._one_at_a_time:
            pass

    def _begin(self, *, writes: bool, durable: bool) -> AccountTransaction:
        execute = self._connection.execute
        execute("SELECT set_config('hub.account', %s, true)", (self._account,))
        if not writes:
            execute("SET TRANSACTION READ ONLY")
        elif not durable:
            execute("SET LOCAL synchronous_commit = off")
        return AccountTransaction(self._connection, self._account)


class AccountTransaction:
    """The tables of one account, in one transaction."""

    def __init__(self, connection: _Connection, account: str) -> None:
        table = (connection, account)
        self._connection, self._account = table
        self.meta = Meta(*table)
        self.objects = Objects(*table)
        self.checkouts = Checkouts(*table)
        self.inbox = Inbox(*table)
        self.grants = Grants(*table)
        self.history = ArchivedHistory(*table)
        self.features = Features(*table)
        self.outbox = Outbox(*table)

    def identity(self) -> Identity:
        """The account's id, as its objects at Stripe carry it, and its customer there."""
        row = self._connection.execute(
            "SELECT id, customer FROM accounts WHERE id = %s", (self._account,)
        ).fetchone()
        assert row is not None, "an account that a router has exists"
        return Identity(*row)

    def set_customer(self, customer: str | None) -> None:
        """Record which customer at Stripe the account is; None for one that was deleted there."""
        self._connection.execute("UPDATE accounts SET customer = %s WHERE id = %s", (customer, self._account))

    def finish(self) -> bool:
        """Record that routers have something new to show, and return whether they do."""
        if not (self.objects.changed or self.grants.changed or self.features.changed or self.history.changed):
            return False
        self._connection.execute(
            f"UPDATE accounts SET version = {NEXT_VERSION}, recompute_at ="
            " (SELECT min(until) FROM features WHERE account = %(account)s AND unlocked)"
            " WHERE id = %(account)s",
            {"account": self._account},
        )
        return True


def notify(connection: _Connection, accounts: Sequence[str]) -> None:
    """Notify the instances of changed accounts, when the transaction commits: many in one notification."""
    for start in range(0, len(accounts), _NOTIFIED):
        names = ",".join(accounts[start : start + _NOTIFIED])
        connection.execute("SELECT pg_notify(%s, %s)", (CHANGED, names))


class _Table:
    def __init__(self, connection: _Connection, account: str) -> None:
        self._execute = connection.execute
        self._account = account
        self.changed = False

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query whose first parameter is the account."""
        return self._execute(query, (self._account, *values)).fetchall()

    def _write(self, statement: str, *values: object) -> int:
        """Run a statement whose first parameter is the account; the number of rows it touched."""
        touched = self._execute(statement, (self._account, *values)).rowcount
        self.changed = self.changed or touched > 0
        return touched


class Meta(_Table):
    """Text values by key; read once in a transaction."""

    held: dict[str, str] | None = None

    def get(self, key: str) -> str | None:
        return self._all().get(key)

    def set(self, key: str, value: str) -> None:
        if self._all().get(key) != value:
            self._write(
                "INSERT INTO meta (account, key, value) VALUES (%s, %s, %s)"
                " ON CONFLICT (account, key) DO UPDATE SET value = excluded.value",
                key,
                value,
            )
            self._all()[key] = value

    def delete(self, key: str) -> None:
        self._write("DELETE FROM meta WHERE account = %s AND key = %s", key)
        self._all().pop(key, None)

    def _all(self) -> dict[str, str]:
        if self.held is None:
            self.held = dict(self._rows("SELECT key, value FROM meta WHERE account = %s"))
        return self.held


OBJECTS: Final = "id, packed, fetched_at, as_of"


class Objects(_Table):
    """Stripe's objects by id; read once in a transaction. `newest`: as of which second the objects are that
    come from an event; all others were fetched just now.
    """

    def __init__(self, connection: _Connection, account: str) -> None:
        super().__init__(connection, account)
        self._all: dict[str, _Raw] | None = None
        self._as_of: dict[str, int] = {}
        self.newest: Mapping[str, int] = {}

    def all(self) -> Mapping[str, _Raw]:
        if self._all is None:
            query = f'SELECT {OBJECTS} FROM objects WHERE account = %s ORDER BY id COLLATE "C"'
            self.hold(self._rows(query))
        assert self._all is not None
        return self._all

    def hold(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Use these rows, of OBJECTS."""
        self._all = {}
        for object_id, packed, fetched_at, as_of in rows:
            self._all[object_id] = decoded(unpack(bytes(packed)))
            if as_of is not None:  # an instance of the version before has stored it, or does now
                self._as_of[object_id] = as_of if as_of >= fetched_at else fetched_at + DOUBT_S

    def get(self, object_id: str) -> _Raw | None:
        return self.all().get(object_id)

    def as_of(self, object_id: str) -> int | None:
        """The second after which nothing is in what is stored; None where that is not known."""
        self.all()
        return self._as_of.get(object_id)

    def put(self, objects: Iterable[_Raw], fetched_at: int) -> bool:
        given, stored = list(objects), self.all()
        changed = that_differ(given, stored)
        for object_id, raw in changed.items():
            at = self.newest.get(object_id)
            self._write(
                "INSERT INTO objects (account, id, fetched_at, packed, as_of) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT (account, id) DO UPDATE SET fetched_at = excluded.fetched_at,"
                " packed = excluded.packed, as_of = greatest(objects.as_of, excluded.as_of)",
                object_id,
                at or fetched_at,
                pack(raw),
                at or (fetched_at + DOUBT_S if fetched_at else None),
            )
        self._confirm({str(raw["id"]) for raw in given} - changed.keys(), fetched_at)
        if changed:
            self._all = {**stored, **changed}
        return bool(changed)

    def _confirm(self, ids: Collection[str], fetched_at: int) -> None:
        """Record as of when subscriptions are that were fetched and have not changed: an older event may say
        what they were in between.
        """
        for object_id in ids:
            if object_kind(object_id) == "subscription" and fetched_at:
                self._execute(
                    "UPDATE objects SET as_of = greatest(as_of, %s) WHERE account = %s AND id = %s",
                    (self.newest.get(object_id) or fetched_at + DOUBT_S, self._account, object_id),
                )

    def delete(self, ids: Collection[str]) -> None:
        self._write("DELETE FROM objects WHERE account = %s AND id = ANY(%s)", list(ids))
        self._all = {object_id: raw for object_id, raw in self.all().items() if object_id not in ids}

    def unchanged_since(self, moment: int) -> set[str]:
        rows = self._rows("SELECT id FROM objects WHERE account = %s AND fetched_at < %s", moment)
        return {object_id for (object_id,) in rows}


_CHECKOUT: Final = (
    "local_id, idempotency_key, price_alias, price_id, mode, success_url, cancel_url, locale, created_at,"
    " session_id, url, state, expires_at"
)


class Checkouts(_Table):
    """Rows of `Checkout`."""

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
        """Raises psycopg.IntegrityError for a used key, of whichever account: keys are Stripe's account's."""
        rows = self._rows(
            "INSERT INTO checkouts (account, idempotency_key, price_alias, price_id, mode, success_url,"
            " cancel_url, locale, created_at, state)"
            f" VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'creating') RETURNING {_CHECKOUT}",
            idempotency_key,
            price_alias,
            price_id,
            mode,
            success_url,
            cancel_url,
            locale,
            created_at,
        )
        return Checkout(*rows[0])

    def update(
        self,
        local_id: int,
        *,
        session_id: str | None = None,
        url: str | None = None,
        state: CheckoutState | None = None,
        expires_at: int | None = None,
    ) -> Checkout:
        rows = self._execute(
            "UPDATE checkouts SET session_id = coalesce(%s, session_id), url = coalesce(%s, url),"
            " state = coalesce(%s, state), expires_at = coalesce(%s, expires_at)"
            f" WHERE account = %s AND local_id = %s RETURNING {_CHECKOUT}",
            (session_id, url, state, expires_at, self._account, local_id),
        ).fetchall()
        if not rows:
            raise KeyError(local_id)
        return Checkout(*rows[0])

    def by_session(self, session_id: str) -> Checkout | None:
        return self._one("session_id = %s", session_id)

    def open(self) -> list[Checkout]:
        return self._checkouts("state IN ('creating', 'open') ORDER BY local_id")

    def latest(self, limit: int = 1) -> list[Checkout]:
        return self._checkouts("true ORDER BY local_id DESC LIMIT %s", limit)

    def _one(self, condition: str, value: str) -> Checkout | None:
        return next(iter(self._checkouts(condition, value)), None)

    def _checkouts(self, condition: str, *values: object) -> list[Checkout]:
        query = f"SELECT {_CHECKOUT} FROM checkouts WHERE account = %s AND {condition}"
        return [Checkout(*row) for row in self._rows(query, *values)]


class Inbox(_Table):
    """The account's events; the worker's queue of all accounts is in `inbox`."""

    def accept(self, event_id: str, type: str, object_id: str, received_at: int) -> bool:  # noqa: A002
        return (
            self._write(
                "INSERT INTO inbox (owner, event_id, type, object_id, received_at)"
                " VALUES (%s, %s, %s, %s, to_timestamp(%s)) ON CONFLICT (event_id) DO NOTHING",
                event_id,
                type,
                object_id,
                received_at,
            )
            == 1
        )

    def finish(self, event_id: str, outcome: str) -> None:
        self._execute(
            "UPDATE inbox SET outcome = %s, error = NULL, payload = NULL WHERE event_id = %s",
            (outcome, event_id),
        )

    def pending_count(self) -> int:
        return int(self._rows("SELECT count(*) FROM inbox WHERE owner = %s AND outcome IS NULL")[0][0])


GRANTS: Final = "feature, until, note, granted_at"


class Grants(_Table):
    """Rows of `ManualGrant`; read once in a transaction."""

    held: list[ManualGrant] | None = None

    def put(self, grant: ManualGrant) -> None:
        self.held = None
        self._write(
            "INSERT INTO grants (account, feature, until, note, granted_at) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (account, feature) DO UPDATE SET until = excluded.until, note = excluded.note,"
            " granted_at = excluded.granted_at",
            *astuple(grant),
        )

    def delete(self, feature: str) -> bool:
        self.held = None
        return self._write("DELETE FROM grants WHERE account = %s AND feature = %s", feature) == 1

    def all(self) -> list[ManualGrant]:
        if self.held is None:
            rows = self._rows(f"SELECT {GRANTS} FROM grants WHERE account = %s ORDER BY feature")
            self.held = [ManualGrant(*row) for row in rows]
        return self.held


HISTORY: Final = "id, date, kind, amount, currency, status, description, receipt_url, invoice_pdf"


class ArchivedHistory(_Table):
    """Rows of `TransactionRow`; read once in a transaction."""

    held: list[TransactionRow] | None = None

    def all(self) -> list[TransactionRow]:
        if self.held is None:
            rows = self._rows(f"SELECT {HISTORY} FROM history WHERE account = %s")
            self.held = [TransactionRow(*row) for row in rows]
        return self.held

    def put(self, rows: Iterable[TransactionRow]) -> None:
        self.held = None
        for row in rows:
            self._write(
                f"INSERT INTO history (account, {HISTORY})"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (account, id) DO UPDATE SET"
                f" ({HISTORY}) = ROW(excluded.id, excluded.date, excluded.kind, excluded.amount,"
                " excluded.currency, excluded.status, excluded.description, excluded.receipt_url,"
                " excluded.invoice_pdf)",
                *(value.replace("\0", "") if isinstance(value, str) else value for value in astuple(row)),
            )

    def delete(self, ids: Collection[str]) -> None:
        self.held = None
        self._write("DELETE FROM history WHERE account = %s AND id = ANY(%s)", list(ids))


FEATURES: Final = "feature, unlocked, source, plan, until, reason"


class Features(_Table):
    """Rows of `Entitlement`, by feature; read once in a transaction."""

    held: dict[str, Entitlement] | None = None

    def all(self) -> dict[str, Entitlement]:
        if self.held is None:
            rows = self._rows(f"SELECT {FEATURES} FROM features WHERE account = %s ORDER BY feature")
            self.held = {row[0]: Entitlement(*row) for row in rows}
        return self.held

    def get(self, feature: str) -> Entitlement | None:
        return self.all().get(feature)

    def replace(self, new: Mapping[str, Entitlement]) -> bool:
        before = self.all()
        after = {name: Entitlement(name) for name in before} | dict(new)
        different = [entitlement for name, entitlement in after.items() if entitlement != before.get(name)]
        for one in different:
            self._write(
                "INSERT INTO features (account, feature, unlocked, source, plan, until, reason)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (account, feature) DO UPDATE SET unlocked = excluded.unlocked,"
                " source = excluded.source, plan = excluded.plan, until = excluded.until,"
                " reason = excluded.reason",
                *astuple(one),
            )
        if different:
            self.held = None
        return bool(different)


class Outbox(_Table):
    """What changed, in order: for the vendor to read."""

    def add(self, kind: str, payload: Mapping[str, Any]) -> int:
        rows = self._rows(
            "INSERT INTO outbox (account, kind, payload) VALUES (%s, %s, %s) RETURNING number",
            kind,
            json.dumps(payload),
        )
        return int(rows[0][0])

    def latest(self, limit: int) -> list[dict[str, Any]]:
        """The newest payments and subscriptions, {number, kind, payload}, oldest first."""
        rows = self._rows(
            "SELECT number, kind, payload FROM outbox WHERE account = %s AND kind <> 'feature'"
            " ORDER BY number DESC LIMIT %s",
            limit,
        )
        return [{"number": number, "kind": kind, "payload": payload} for number, kind, payload in rows[::-1]]
