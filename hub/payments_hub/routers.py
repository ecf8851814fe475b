"""Routers and what they prove themselves with: enrolment, credentials, recovery, replacement.

A router makes its own 256-bit secret and stores it before it sends it, so each call here may be repeated
after a power cut. Only digests are stored. SHA-256 and no password hash: nothing can be guessed of 256
random bits, and every request looks one up.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from payments_hub.account_ledger import NEXT_VERSION
from payments_hub.batching import BatchedQuery
from payments_hub.codes import code_digest, digest, is_secret, new_code
from payments_hub.database import Async, Database
from payments_hub.errors import HubError
from stripe_payments.log import Log

__all__ = ["FOUND", "NEWEST", "Router", "Routers", "new_secret"]

_log = Log("routers")

_CLONE: Final = "clone"
_CODE_REUSED: Final = "code_reused"
"""Flags of a router, for the vendor to see."""
_STEP: Final = 1000
"""Routers that are changed in one transaction."""
_LIKE: Final = re.compile(r"[\\%_]")

NEWEST: Final = "SELECT id FROM routers ORDER BY enrolled_at DESC, id LIMIT %(limit)s"

_NEWEST_OF: Final = " ORDER BY r.enrolled_at DESC, r.id LIMIT %(limit)s"
_MATCHES: Final = (
    "routers r WHERE lower(r.id || ' ' || r.account || ' ' || r.board) LIKE lower(%(text)s)",
    "routers r JOIN accounts a ON a.id = r.account WHERE lower(a.customer) LIKE lower(%(text)s)",
    "routers r JOIN enrollment_codes c ON c.router = r.id WHERE lower(c.note) LIKE lower(%(text)s)",
    "routers r JOIN enrollment_codes c ON c.prepared = r.id WHERE r.status = 'prepared'"
    " AND lower(c.note) LIKE lower(%(text)s)",
    "routers r WHERE r.account = ANY(%(accounts)s)",
)
FOUND: Final = (
    "SELECT id FROM ("
    + " UNION ".join(f"(SELECT r.id, r.enrolled_at FROM {match}{_NEWEST_OF})" for match in _MATCHES)
    + ") r"
    + _NEWEST_OF
)
"""Each of the searches by itself, so that each can use an index: of trigrams (`migrations/0006`) where few
match, of the newest where many do.
"""

_CREDENTIALS: Final = (
    "SELECT c.digest, c.status, r.id, r.status, r.account, a.version, (SELECT max(version) FROM catalogs),"
    " coalesce(c.created_at < r.rotation_requested, false)"
    " FROM credentials c JOIN routers r ON r.id = c.router JOIN accounts a ON a.id = r.account"
    " WHERE c.digest = ANY(%s)"
)


@dataclass(frozen=True, slots=True)
class Router:
    """Who is calling: the router, the account it has, and the account's version as of the request; `catalog`:
    the version of the catalog in force as of the request, if there is one; `rotate`: the vendor has requested
    another credential than the one it calls with.
    """

    id: str
    account: str
    version: int
    catalog: int | None = None
    rotate: bool = False


def new_secret() -> str:
    """A credential as a router makes it."""
    return secrets.token_urlsafe(32)


def _escaped(found: re.Match[str]) -> str:
    """A character that LIKE would take for a pattern."""
    return f"\\{found[0]}"


class Routers:
    """Every method but `request_rotations` is one transaction."""

    def __init__(self, database: Database, *, open_enrollment: bool = False) -> None:
        self._database = database
        self._open_enrollment = open_enrollment
        self._credentials: BatchedQuery[bytes, tuple[Any, ...] | None] = BatchedQuery(self._find_credentials)

    async def authenticate(self, secret: str | None) -> Router:
        """The router that a credential belongs to. Nothing is cached, only looked up for several requests at
        once: one that was revoked is refused by the next request, at every instance.

        The first use of a new credential retires the old one. One that is used after it was retired belongs
        to a copy of the router: the vendor is shown that, and the copy is refused.
        """
        if not is_secret(secret):
            raise HubError("credential_missing" if secret is None else "credential_refused")
        assert secret is not None
        row = await self._credentials.get(digest(secret))
        if row is None:
            raise HubError("credential_refused")
        _digest, credential, router, status, account, version, catalog, rotate = row
        if status != "active":
            raise HubError(f"router_{status}")
        if credential != "active":
            await self._not_active(credential, router, secret)
        return Router(router, account, version, catalog, rotate)

    async def _find_credentials(self, digests: Sequence[bytes]) -> list[tuple[Any, ...] | None]:
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(_CREDENTIALS, (list(digests),))
            found = {row[0]: row for row in await cursor.fetchall()}
        return [found.get(one) for one in digests]

    async def _not_active(self, credential: str, router: str, secret: str) -> None:
        """Promote a new credential on its first use. Raises HubError ``credential_refused`` for any other."""
        async with self._database.requests.connection() as connection:
            if credential == "next":
                await self._promote(connection, router, secret)
                return
            if credential == "retired":
                await _flag(connection, router, _CLONE)
                _log.warning("a retired credential was used: a copy of the router", router=router)
        raise HubError("credential_refused")

    async def enroll(self, secret: str, code: str | None, board: str, software: str) -> str:
        """Enrol a router under a secret that it made; its id. The same secret again is the same router.

        Raises HubError ``enrollment_closed``, ``code_refused``, ``code_used``.
        """
        async with self._database.requests.connection() as connection, connection.transaction():
            known = await _row(connection, "SELECT router FROM credentials WHERE digest = %s", digest(secret))
            if known is not None:
                return str(known[0])
            if code is None and not self._open_enrollment:
                raise HubError("enrollment_closed")
            used = None
            if code is not None:
                used = await _row(
                    connection,
                    "SELECT router, expires_at < now(), prepared FROM enrollment_codes WHERE digest = %s"
                    " FOR UPDATE",
                    code_digest(code),
                )
                if used is None or (used[0] is None and used[1]):
                    raise HubError("code_refused")
            if used is None or used[0] is None:
                if used is not None and used[2] is not None:
                    router = str(used[2])
                    await self._take_over(connection, router, board, software)
                else:
                    router = await self._new_router(connection, board, software)
                await _credential(connection, secret, router, "active")
                if code is not None:
                    await connection.execute(
                        "UPDATE enrollment_codes SET router = %s WHERE digest = %s",
                        (router, code_digest(code)),
                    )
                _log.info("router enrolled", router=router, board=board, code=code is not None)
                return router
        assert code is not None
        async with self._database.requests.connection() as connection:
            await connection.execute(
                "UPDATE enrollment_codes SET conflicts = conflicts + 1 WHERE digest = %s",
                (code_digest(code),),
            )
            await _flag(connection, used[0], _CODE_REUSED)
        _log.warning("an enrolment code came again with another secret", router=used[0])
        raise HubError("code_used")

    async def rotate(self, router: Router, secret: str) -> None:
        """Add the credential that the router uses from now on; the old one works until the new one was
        used.
        """
        async with self._database.requests.connection() as connection, connection.transaction():
            await connection.execute(
                "DELETE FROM credentials WHERE router = %s AND status = 'next' AND digest <> %s",
                (router.id, digest(secret)),
            )
            known = await _row(connection, "SELECT router FROM credentials WHERE digest = %s", digest(secret))
            if known is None:
                await _credential(connection, secret, router.id, "next")
            elif known[0] != router.id:
                raise HubError("credential_refused")

    async def new_recovery_code(self, account: str) -> str:
        """A code that moves the account to another router, once. Earlier ones end."""
        code = new_code()
        async with self._database.requests.connection() as connection, connection.transaction():
            await connection.execute(
                "DELETE FROM recovery_codes WHERE account = %s AND used_at IS NULL", (account,)
            )
            await connection.execute(
                "INSERT INTO recovery_codes (digest, account) VALUES (%s, %s)", (code_digest(code), account)
            )
        return code

    async def recover(self, router: Router, code: str) -> Router:
        """Give the account of a recovery code to this router; the router that had it ends. Repeating it
        changes nothing. Raises HubError ``code_refused``, ``router_not_empty``.
        """
        async with self._database.requests.connection() as connection, connection.transaction():
            found = await _row(
                connection,
                "SELECT account, used_at IS NOT NULL FROM recovery_codes WHERE digest = %s FOR UPDATE",
                code_digest(code),
            )
            if found is None:
                raise HubError("code_refused")
            account, used = found
            if account == router.account:
                return router
            if used:
                raise HubError("code_refused")
            own = await _row(
                connection, "SELECT customer FROM accounts WHERE id = %s FOR UPDATE", router.account
            )
            if own is None or own[0] is not None:
                raise HubError("router_not_empty")
            await self._replace(connection, account, router.id)
            await connection.execute(
                "UPDATE recovery_codes SET used_at = now() WHERE digest = %s", (code_digest(code),)
            )
            version = await _row(
                connection,
                f"UPDATE accounts SET version = {NEXT_VERSION} WHERE id = %s RETURNING version",
                account,
            )
            assert version is not None
        _log.info("account moved to another router", account=account, router=router.id)
        return Router(router.id, account, int(version[0]))

    async def revoke(self, router: str) -> bool:
        """Block a router; False if there is none. What is owned stays with its account."""
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "UPDATE routers SET status = 'revoked' WHERE id = %s AND status = 'active'", (router,)
            )
            return cursor.rowcount == 1

    async def restore(self, router: str) -> bool:
        """Accept a blocked router again; False if there is none, or another one has its account."""
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "UPDATE routers r SET status = 'active' WHERE id = %s AND status = 'revoked' AND NOT EXISTS"
                " (SELECT FROM routers o WHERE o.account = r.account AND o.status = 'active')",
                (router,),
            )
            return cursor.rowcount == 1

    async def clear_flags(self, router: str, flag: str | None = None) -> list[str]:
        """Remove one flag of a router, or all; those that it had. What caused one sets it again."""
        async with self._database.requests.connection() as connection, connection.transaction():
            row = await _row(connection, "SELECT flags FROM routers WHERE id = %s FOR UPDATE", router)
            had = [name for name in (row[0] if row is not None else ()) if flag in (None, name)]
            await connection.execute(
                "UPDATE routers SET flags = array(SELECT unnest(flags) EXCEPT SELECT unnest(%s::text[]))"
                " WHERE id = %s",
                (had, router),
            )
        return had

    async def request_rotation(self, router: str) -> bool:
        """Have a router exchange its credential for one that is made from now on; False if none is active."""
        return await self._request_rotation("id = %s", router) == 1

    async def request_rotations(self) -> int:
        """Of every active router; their number. In steps: a lock on all of them would stop enrolments."""
        found, after = 0, ""
        async with self._database.requests.connection() as connection:
            while True:
                row = await _row(
                    connection,
                    "SELECT max(id) FROM (SELECT id FROM routers WHERE id > %s ORDER BY id LIMIT %s) r",
                    after,
                    _STEP,
                )
                if row is None or row[0] is None:
                    return found
                found += await self._request_rotation("id > %s AND id <= %s", after, row[0])
                after = row[0]

    async def _request_rotation(self, which: str, *values: object) -> int:
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                f"UPDATE routers SET rotation_requested = now() WHERE {which} AND status = 'active'", values
            )
            return cursor.rowcount

    async def new_enrollment_code(self, note: str = "", days: int = 90) -> str:
        """A code that one router enrols with."""
        async with self._database.requests.connection() as connection:
            return await _enrollment_code(connection, note, days)

    async def prepare(
        self,
        account: str | None = None,
        *,
        customer: str | None = None,
        note: str = "",
        days: int = 90,
    ) -> tuple[str, str]:
        """A router that is yet to enrol, with a code for it: (id, code). `account`: the one that it gets,
        from the router that has it then; a new one where there is none of that id.
        """
        account = account or uuid.uuid4().hex
        router = uuid.uuid4().hex
        async with self._database.requests.connection() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO accounts (id, customer) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING",
                (account, customer),
            )
            await connection.execute(
                "INSERT INTO routers (id, account, board, software, status)"
                " VALUES (%s, %s, '', '', 'prepared')",
                (router, account),
            )
            return router, await _enrollment_code(connection, note, days, prepared=router)

    async def new_code_of(self, router: str, days: int = 90) -> str | None:
        """Another code for a router that is prepared, in place of the one before; None if there is none."""
        async with self._database.requests.connection() as connection, connection.transaction():
            held = await _row(
                connection,
                "DELETE FROM enrollment_codes c USING routers r WHERE c.prepared = r.id AND r.id = %s"
                " AND r.status = 'prepared' RETURNING c.note",
                router,
            )
            return (
                None if held is None else await _enrollment_code(connection, held[0], days, prepared=router)
            )

    async def find(
        self, text: str = "", limit: int = 100, *, accounts: Collection[str] = ()
    ) -> list[dict[str, Any]]:
        """Routers whose id, account, board, customer or code's note contains a text, or that have one of the
        accounts; the newest first: {id, status, board, version, flags, account, customer,
        enrolled_at, last_contact, note, rotation_requested}. The last one is null where no credential has to
        be exchanged.
        """
        if not text and not accounts:
            return await self._shown(NEWEST, {"limit": limit})
        pattern = f"%{_LIKE.sub(_escaped, text)}%"
        return await self._shown(FOUND, {"text": pattern, "accounts": list(accounts), "limit": limit})

    async def get(self, router: str) -> dict[str, Any] | None:
        """As `find`: the one of that id."""
        return next(iter(await self._shown("SELECT %(id)s", {"id": router})), None)

    async def _shown(self, ids: str, values: Mapping[str, object]) -> list[dict[str, Any]]:
        """`ids`: a query for the routers' ids."""
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "SELECT r.id, r.status, r.board, r.software, r.flags, r.account, a.customer, r.enrolled_at,"
                " r.last_contact, coalesce((SELECT c.note FROM enrollment_codes c"
                " WHERE c.router = r.id OR c.prepared = r.id LIMIT 1), ''), CASE WHEN EXISTS (SELECT FROM"
                " credentials c WHERE c.router = r.id AND c.status = 'active'"
                " AND c.created_at < r.rotation_requested) THEN r.rotation_requested END"
                f" FROM routers r JOIN accounts a ON a.id = r.account WHERE r.id IN ({ids})"
                " ORDER BY r.enrolled_at DESC, r.id",
                values,
            )
            rows = await cursor.fetchall()
        names = ("id", "status", "board", "version", "flags", "account", "customer")
        return [
            {
                **dict(zip(names, row[:7], strict=True)),
                "enrolled_at": row[7].isoformat(),
                "last_contact": row[8].isoformat() if row[8] is not None else None,
                "note": row[9],
                "rotation_requested": row[10].isoformat() if row[10] is not None else None,
            }
            for row in rows
        ]

    async def assignments(self, account: str, router: str) -> list[dict[str, Any]]:
        """Which routers had an account, and which accounts a router had, from when to when; the newest
        first: {router, account, from, to}.
        """
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "SELECT router, account, assigned_at, ended_at FROM assignments"
                " WHERE account = %s OR router = %s ORDER BY assigned_at DESC, router",
                (account, router),
            )
            return [
                {
                    "router": row[0],
                    "account": row[1],
                    "from": row[2].isoformat(timespec="seconds"),
                    "to": row[3].isoformat(timespec="seconds") if row[3] is not None else None,
                }
                for row in await cursor.fetchall()
            ]

    async def seen(self, routers: set[str]) -> None:
        """Record when routers were last heard of; once a minute for all of them."""
        async with self._database.requests.connection() as connection:
            await connection.execute(
                "UPDATE routers SET last_contact = now() WHERE id = ANY(%s)", (sorted(routers),)
            )

    @staticmethod
    async def _promote(connection: Async, router: str, secret: str) -> None:
        async with connection.transaction():
            await connection.execute(
                "UPDATE credentials SET status = 'retired' WHERE router = %s AND status = 'active'", (router,)
            )
            await connection.execute(
                "UPDATE credentials SET status = 'active' WHERE digest = %s AND status = 'next'",
                (digest(secret),),
            )

    @staticmethod
    async def _new_router(connection: Async, board: str, software: str) -> str:
        router, account = uuid.uuid4().hex, uuid.uuid4().hex
        await connection.execute("INSERT INTO accounts (id) VALUES (%s)", (account,))
        await connection.execute(
            "INSERT INTO routers (id, account, board, software) VALUES (%s, %s, %s, %s)",
            (router, account, board, software),
        )
        await connection.execute(
            "INSERT INTO assignments (router, account) VALUES (%s, %s)", (router, account)
        )
        return router

    async def _take_over(self, connection: Async, router: str, board: str, software: str) -> None:
        """The prepared router is there: it has its account from now on, and no other one has."""
        row = await _row(
            connection,
            "UPDATE routers SET status = 'active', board = %s, software = %s, enrolled_at = now()"
            " WHERE id = %s RETURNING account",
            board,
            software,
            router,
        )
        assert row is not None
        await self._replace(connection, row[0], router)
        await connection.execute(f"UPDATE accounts SET version = {NEXT_VERSION} WHERE id = %s", (row[0],))

    @staticmethod
    async def _replace(connection: Async, account: str, router: str) -> None:
        """The account is this router's from now on, and no other one's."""
        await connection.execute(
            "UPDATE routers SET status = 'replaced' WHERE account = %s AND id <> %s AND status = 'active'",
            (account, router),
        )
        await connection.execute(
            "UPDATE assignments SET ended_at = now()"
            " WHERE ended_at IS NULL AND (router = %s OR account = %s)",
            (router, account),
        )
        await connection.execute("UPDATE routers SET account = %s WHERE id = %s", (account, router))
        await connection.execute(
            "INSERT INTO assignments (router, account) VALUES (%s, %s)", (router, account)
        )


async def _enrollment_code(connection: Async, note: str, days: int, *, prepared: str | None = None) -> str:
    code = new_code()
    await connection.execute(
        "INSERT INTO enrollment_codes (digest, note, expires_at, prepared)"
        " VALUES (%s, %s, now() + make_interval(days => %s), %s)",
        (code_digest(code), note, days, prepared),
    )
    return code


async def _flag(connection: Async, router: str, flag: str) -> None:
    await connection.execute(
        "UPDATE routers SET flags = array_append(flags, %s) WHERE id = %s AND NOT %s = ANY(flags)",
        (flag, router, flag),
    )


async def _credential(connection: Async, secret: str, router: str, status: str) -> None:
    await connection.execute(
        "INSERT INTO credentials (digest, router, status) VALUES (%s, %s, %s)",
        (digest(secret), router, status),
    )


async def _row(connection: Async, query: str, *values: object) -> tuple[Any, ...] | None:
    cursor: psycopg.AsyncCursor[tuple[Any, ...]] = await connection.execute(query, values)
    return await cursor.fetchone()
