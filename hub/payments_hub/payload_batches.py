"""Applies what events say, many customers in one transaction.

Each customer's account is locked as `Accounts.open` locks it, until the transaction ends; one that is locked
elsewhere, or whose object has to be fetched, is left to the worker's own way. What fails for one customer
takes nothing away from the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import psycopg
from psycopg_pool import PoolTimeout

from payments_hub.account_ledger import (
    FEATURES,
    GRANTS,
    HISTORY,
    OBJECTS,
    AccountLedger,
    AccountTransaction,
    notify,
)
from payments_hub.accounts import Accounts
from payments_hub.database import Database
from payments_hub.errors import HubError
from payments_hub.inbox import Payload, Waiting
from payments_hub.payloads import applicable
from stripe_payments.clock import TrustedClock
from stripe_payments.entitlements import Entitlement, ManualGrant
from stripe_payments.identity import Identity
from stripe_payments.log import Log
from stripe_payments.payment_history import TransactionRow
from stripe_payments.stripe_api import StripeAPI
from stripe_payments.sync.fetch import Unit, units_owned_by

__all__ = ["PayloadBatches"]

_log = Log("worker")

_T = TypeVar("_T")
_Connection = psycopg.Connection[tuple[Any, ...]]
_Objects = dict[str, dict[str, Payload | None]]
"""What waits of one account: of each object the payloads, by event."""

_ROW_WAIT: Final = "2s"
"""For a row that another transaction writes."""


class PayloadBatches:
    def __init__(
        self, database: Database, accounts: Accounts, stripe: StripeAPI, clock: TrustedClock
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._stripe = stripe
        self._clock = clock

    async def apply(self, found: Sequence[Waiting]) -> set[str]:
        """Apply the payloads of these objects and end their events; the ids of the objects that are done.
        None is, where the batch fails: each is fetched then, and one that breaks us is postponed by itself.
        """
        if not found:
            return set()
        try:
            version = await self._stripe.api_version()
            return await self._database.in_thread(self._apply, found, version)
        except (psycopg.Error, PoolTimeout, HubError) as error:
            _log.warning("payloads not applied", objects=len(found), reason=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - as above
            _log.error("payloads not applied", objects=len(found), exc=error)
        return set()

    def _apply(self, found: Sequence[Waiting], version: str) -> set[str]:
        connection = self._accounts.connection()
        batch = _Batch(connection, version, self._clock.now() or 0)
        try:
            with connection.transaction():
                connection.execute("SELECT set_config('lock_timeout', %s, true)", (_ROW_WAIT,))
                asyncio.run(self._apply_each(batch, batch.lock(found)))
                notify(connection, batch.changed)
        finally:
            self._database.accounts.putconn(connection)
        if batch.done:
            _log.info("payloads applied", objects=len(batch.done))
        return batch.done

    async def _apply_each(self, batch: _Batch, waiting: Mapping[str, _Objects]) -> None:
        accounts = list(waiting)
        transactions, identities = batch.begin(accounts), batch.identities(accounts)
        for account, objects in waiting.items():
            try:
                with batch.connection.transaction():
                    await self._apply_one(batch, transactions[account], identities[account], objects)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                raise
            except Exception as error:  # noqa: BLE001 - the worker fetches it, and postpones what breaks then
                _log.error("payload not applied", account=account, exc=error)
        batch.finish(
            [event for each in waiting.values() for one in batch.done & each.keys() for event in each[one]]
        )

    async def _apply_one(
        self, batch: _Batch, tx: AccountTransaction, identity: Identity, objects: _Objects
    ) -> None:
        units: list[Unit] = []
        newest: dict[str, int] = {}
        for object_id, payloads in objects.items():
            stored, as_of = tx.objects.all(), tx.objects.as_of(object_id)
            found = applicable(object_id, list(payloads.values()), stored, as_of, batch.version, batch.now)
            if found is not None:
                units += units_owned_by(
                    identity.router_id, identity.customer, [Unit(found[0], time.monotonic())]
                )
                newest[object_id] = found[1]
        if not units:
            return
        account = identity.router_id
        batch.connection.execute("SELECT set_config('hub.account', %s, true)", (account,))
        tx.objects.newest = newest
        reconciler = self._accounts.reconciler(_Begun(tx), identity)
        await reconciler.load()
        await reconciler.apply(units, "payload")
        if tx.finish():
            batch.changed.append(account)
        batch.done |= {str(unit.root["id"]) for unit in units}


@dataclass(slots=True)
class _Batch:
    """One transaction. `done`: ids of objects; `changed`: accounts whose routers have something new."""

    connection: _Connection
    version: str
    now: int
    done: set[str] = field(default_factory=set)
    changed: list[str] = field(default_factory=list)

    def lock(self, found: Sequence[Waiting]) -> dict[str, _Objects]:
        """Lock the accounts in which these objects are stored, but those that are locked elsewhere; by
        account, what waits.
        """
        execute = self.connection.execute
        execute("SELECT set_config('hub.account', '*', true)")
        rows = execute(
            "SELECT id, min(account) FROM objects WHERE id = ANY(%s) GROUP BY id HAVING count(*) = 1",
            ([one.object_id for one in found],),
        ).fetchall()
        account_of: dict[str, str] = dict(rows)
        ours = [
            one
            for one in found
            if one.object_id in account_of and one.owner in (None, account_of[one.object_id])
        ]
        names = sorted({account_of[one.object_id] for one in ours})
        locked = {
            row[0]
            for row in execute(
                "SELECT name FROM unnest(%s::text[]) name"
                " WHERE pg_try_advisory_xact_lock(hashtextextended(name, 0))",
                (names,),
            ).fetchall()
        }
        waiting: dict[str, _Objects] = defaultdict(lambda: defaultdict(dict))
        events = [event for one in ours for event in one.event_ids]
        for object_id, event, created, api_version, text in execute(
            "SELECT object_id, event_id, created, api_version, payload FROM inbox"
            " WHERE event_id = ANY(%s) AND outcome IS NULL",
            (events,),
        ).fetchall():
            account = account_of[object_id]
            if account in locked:
                payload = Payload(created, api_version, text) if text is not None else None
                waiting[account][object_id][event] = payload
        return waiting

    def begin(self, accounts: Sequence[str]) -> dict[str, AccountTransaction]:
        """These accounts, as the first step of their transaction, with all that their ledgers hold."""
        found: dict[str, AccountTransaction] = {}
        for account in accounts:
            tx = found[account] = AccountTransaction(self.connection, account)
            tx.meta.held, tx.features.held = {}, {}
            tx.grants.held, tx.history.held = [], []
        for account, key, value in self._rows(accounts, "key, value", "meta"):
            _held(found[account].meta.held)[key] = value
        for account, *values in self._rows(accounts, FEATURES, "features", "feature"):
            _held(found[account].features.held)[values[0]] = Entitlement(*values)
        for account, *values in self._rows(accounts, GRANTS, "grants", "feature"):
            _held(found[account].grants.held).append(ManualGrant(*values))
        for account, *values in self._rows(accounts, HISTORY, "history"):
            _held(found[account].history.held).append(TransactionRow(*values))
        objects: dict[str, list[tuple[Any, ...]]] = {account: [] for account in accounts}
        for account, *values in self._rows(accounts, OBJECTS, "objects", 'id COLLATE "C"'):
            objects[account].append(tuple(values))
        for account, rows in objects.items():
            found[account].objects.hold(rows)
        return found

    def _rows(
        self, accounts: Sequence[str], columns: str, table: str, order: str = "account"
    ) -> list[tuple[Any, ...]]:
        query = f"SELECT account, {columns} FROM {table} WHERE account = ANY(%s) ORDER BY {order}"
        return self.connection.execute(query.encode(), (accounts,)).fetchall()

    def identities(self, accounts: Sequence[str]) -> dict[str, Identity]:
        rows = self.connection.execute("SELECT id, customer FROM accounts WHERE id = ANY(%s)", (accounts,))
        return {row[0]: Identity(*row) for row in rows.fetchall()}

    def finish(self, events: Sequence[str]) -> None:
        self.connection.execute(
            "UPDATE inbox SET outcome = 'applied', error = NULL, payload = NULL WHERE event_id = ANY(%s)",
            (events,),
        )


def _held(rows: _T | None) -> _T:
    assert rows is not None, "set a moment before"
    return rows


class _Begun(AccountLedger):
    """The ledger of one account in a transaction that has begun, and that its caller ends."""

    def __init__(self, tx: AccountTransaction) -> None:
        self._tx = tx

    async def write(self, function: Callable[[AccountTransaction], _T], *, durable: bool = True) -> _T:
        return self.run(function, writes=True, durable=durable)

    async def read(self, function: Callable[[AccountTransaction], _T]) -> _T:
        return self.run(function)

    def run(
        self, function: Callable[[AccountTransaction], _T], *, writes: bool = False, durable: bool = True
    ) -> _T:
        del writes, durable
        return function(self._tx)
