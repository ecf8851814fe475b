"""The ledger in PostgreSQL: the contract of all ledgers, and that one account never sees another's rows."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from payments_hub.account_ledger import AccountLedger, AccountTransaction
from stripe_payments.entitlements import Entitlement, ManualGrant
from stripe_payments.errors import PaymentError
from tests.unit.stripe_payments.ledger import contract

Connection = psycopg.Connection[tuple[Any, ...]]


class Reopened:
    """The account over a new connection."""

    def __init__(self, url: str, account: str) -> None:
        self._url = url
        self._account = account
        self._connections: list[Connection] = []

    async def __call__(self) -> AccountLedger:
        connection = psycopg.connect(self._url, autocommit=True)
        self._connections.append(connection)
        return AccountLedger(connection, self._account)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def new_account(url: str) -> str:
    account = uuid.uuid4().hex
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO accounts (id) VALUES (%s)", (account,))
    return account


def version(url: str, account: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT version FROM accounts WHERE id = %s", (account,)).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
async def reopen(database_url: str) -> AsyncIterator[Reopened]:
    reopened = Reopened(database_url, new_account(database_url))
    yield reopened
    reopened.close()


@pytest.mark.parametrize("name", contract.MUTATIONS)
async def test_a_commit_is_durable(reopen: Reopened, name: str) -> None:
    await contract.is_durable(await reopen(), reopen, name)


@pytest.mark.parametrize("name", contract.MUTATIONS)
async def test_a_failed_write_leaves_nothing(reopen: Reopened, name: str) -> None:
    await contract.is_rolled_back(await reopen(), reopen, name)


@pytest.mark.parametrize("name", contract.CASES)
async def test_the_contract_of_ledgers(reopen: Reopened, name: str) -> None:
    await contract.CASES[name](await reopen(), reopen)


_OF_AN_ACCOUNT = ("meta", "objects", "checkouts", "grants", "history", "features", "outbox")


async def test_a_query_that_forgets_the_account_sees_nothing_foreign(
    database_url: str, reopen: Reopened
) -> None:
    await (await reopen()).write(contract.seed)
    other = Reopened(database_url, new_account(database_url))
    ledger = await other()

    def rows(tx: AccountTransaction) -> dict[str, int]:
        counts = {}
        for table in _OF_AN_ACCOUNT:
            row = tx._connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
            counts[table] = row[0] if row is not None else -1
        return counts

    assert set((await (await reopen()).read(rows)).values()) == {1}, "its own rows, in every table"
    assert set((await ledger.read(rows)).values()) == {0}

    def overwrite(tx: AccountTransaction) -> int:
        return tx._connection.execute("UPDATE features SET unlocked = true").rowcount

    assert await ledger.write(overwrite) == 0

    def smuggle(tx: AccountTransaction) -> None:
        tx._connection.execute(
            "INSERT INTO grants (account, feature, note) VALUES (%s, 'backup', '')", (reopen._account,)
        )

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await ledger.write(smuggle)
    other.close()


async def test_outside_of_a_transaction_of_an_account_nothing_is_visible(
    database_url: str, reopen: Reopened
) -> None:
    await (await reopen()).write(contract.seed)
    with psycopg.connect(database_url) as connection:
        for table in _OF_AN_ACCOUNT:
            assert connection.execute(f"SELECT * FROM {table}".encode()).fetchall() == []


async def test_what_a_router_shows_raises_the_version_and_notifies(
    database_url: str, reopen: Reopened
) -> None:
    ledger, account = await reopen(), reopen._account
    before = version(database_url, account)
    with psycopg.connect(database_url, autocommit=True) as listening:
        listening.execute("LISTEN account_changed")
        now = int(time.time())
        await ledger.write(lambda tx: tx.grants.put(ManualGrant("backup")))
        raised = version(database_url, account)
        assert before < now <= raised, "later than any that was given before a restored backup"
        (notify,) = list(listening.notifies(timeout=5, stop_after=1))
        assert notify.payload == account
    await ledger.write(lambda tx: tx.meta.set("key", "value"))
    await ledger.read(lambda tx: tx.features.all())
    assert version(database_url, account) == raised
    with psycopg.connect(database_url, autocommit=True) as ahead:
        ahead.execute("UPDATE accounts SET version = %s", (now + 3600,))
    await ledger.write(lambda tx: tx.grants.put(ManualGrant("backup", until=now)))
    assert version(database_url, account) == now + 3601, "never lower, and another one for each change"


async def test_an_account_is_recomputed_when_the_next_feature_ends(
    database_url: str, reopen: Reopened
) -> None:
    ends = {"a": 900, "b": 800, "c": None}
    features = {name: Entitlement(name, True, "sub_1", "p", end, "active") for name, end in ends.items()}
    features["locked"] = Entitlement("locked", False, "sub_1", "p", 100, "canceled")
    await (await reopen()).write(lambda tx: tx.features.replace(features))
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT recompute_at FROM accounts").fetchone() == (800,)


async def test_writes_at_the_same_time_are_all_there(reopen: Reopened) -> None:
    ledger = await reopen()

    def append(tx: AccountTransaction) -> None:
        tx.meta.set("log", (tx.meta.get("log") or "") + "x")

    await asyncio.gather(*[ledger.write(append) for _ in range(20)])
    assert await ledger.read(lambda tx: tx.meta.get("log")) == "x" * 20


async def test_a_lost_connection_is_an_error_with_words(database_url: str, reopen: Reopened) -> None:
    ledger = await reopen()
    with psycopg.connect(database_url.replace("hub@", "postgres@"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(PaymentError) as caught:
        await ledger.read(lambda tx: tx.meta.get("key"))
    assert caught.value.code == "ledger_unavailable"
