"""Erase what is stored of a router: the right to be forgotten (GDPR, article 17). The audit log and Stripe's
own data are not touched.
"""

from __future__ import annotations

from typing import Any, Final

from payments_hub.database import Async, Database

__all__ = ["erase_router"]

_OF_AN_ACCOUNT: Final = (
    "meta",
    "objects",
    "checkouts",
    "grants",
    "history",
    "features",
    "outbox",
    "recovery_codes",
    "assignments",
)
_OF_A_ROUTER: Final = ("replies", "credentials", "assignments")


async def erase_router(database: Database, router: str) -> dict[str, Any]:
    """Erase a router, and each account that no other router has: {routers[], accounts[]}, the ids. Call with
    the lock of its account. A router that was replaced by this one goes with the account.
    """
    async with database.requests.connection() as connection, connection.transaction():
        row = await _first(connection, "SELECT account, status FROM routers WHERE id = %s FOR UPDATE", router)
        assert row is not None, "the caller has found it"
        account, status = row
        routers = [router]
        if status != "replaced":
            routers += await _ids(
                connection, "SELECT id FROM routers WHERE account = %s AND id <> %s", account, router
            )
        accounts = await _ids(
            connection,
            "SELECT DISTINCT account FROM (SELECT account FROM routers WHERE id = ANY(%(routers)s)"
            " UNION ALL SELECT account FROM assignments WHERE router = ANY(%(routers)s)) held"
            " WHERE account NOT IN (SELECT account FROM routers WHERE id <> ALL(%(routers)s))",
            routers=routers,
        )
        for one in routers:
            await _erase(connection, one)
        for one in accounts:
            await _erase_account(connection, one)
    return {"routers": sorted(routers), "accounts": sorted(accounts)}


async def _erase(connection: Async, router: str) -> None:
    for table in _OF_A_ROUTER:
        await connection.execute(f"DELETE FROM {table} WHERE router = %s".encode(), (router,))
    await connection.execute(
        "DELETE FROM enrollment_codes WHERE router = %(router)s OR prepared = %(router)s", {"router": router}
    )
    await connection.execute("DELETE FROM routers WHERE id = %s", (router,))


async def _erase_account(connection: Async, account: str) -> None:
    await connection.execute("SELECT set_config('hub.account', %s, true)", (account,))
    await connection.execute(
        "DELETE FROM inbox WHERE owner = %(account)s"
        " OR customer = (SELECT customer FROM accounts WHERE id = %(account)s)"
        " OR object_id IN (SELECT id FROM objects WHERE account = %(account)s)",
        {"account": account},
    )
    for table in _OF_AN_ACCOUNT:
        await connection.execute(f"DELETE FROM {table} WHERE account = %s".encode(), (account,))
    await connection.execute("DELETE FROM accounts WHERE id = %s", (account,))


async def _first(connection: Async, query: str, *values: object) -> tuple[Any, ...] | None:
    return await (await connection.execute(query, values)).fetchone()


async def _ids(connection: Async, query: str, *values: object, **named: object) -> list[str]:
    cursor = await connection.execute(query, named or values)
    return [row[0] for row in await cursor.fetchall()]
