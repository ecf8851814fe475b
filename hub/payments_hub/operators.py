"""The people who use the console: passwords, roles, and sessions.

A session is a cookie of 256 random bits; only its digest is stored. It ends after thirty minutes without a
request, twelve hours after the login, at the logout, and when the password is changed or the operator
disabled.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from psycopg.errors import UniqueViolation

from payments_hub.codes import digest
from payments_hub.database import Database
from payments_hub.errors import VendorError
from payments_hub.texts import _

__all__ = ["ROLES", "Operator", "Operators", "Role", "new_password"]

Role: TypeAlias = Literal["support", "admin"]

ROLES: Final[tuple[Role, ...]] = ("support", "admin")
IDLE_MINUTES: Final = 30
LONGEST_HOURS: Final = 12
SHORTEST_PASSWORD: Final = 12
HASHER: Final = PasswordHasher()
_LONGEST_PASSWORD: Final = 1024
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_AT_ONCE: Final = 2
"""Passwords that are verified at the same time: each takes 64 MiB and a core."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who is logged in. `support` finds, shows and syncs; `admin` does everything."""

    name: str
    role: Role

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


def new_password() -> str:
    """A random password: 120 bits."""
    return secrets.token_urlsafe(15)


class Operators:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._permits = asyncio.Semaphore(_AT_ONCE)
        self._nobodys: str | None = None

    async def create(self, name: str, role: str, password: str) -> None:
        """Raises VendorError ``operator_exists``, ``operator_invalid``, ``password_too_short``."""
        if not _NAME.fullmatch(name) or role not in ROLES:
            raise _invalid()
        hashed = await self._hash(password)
        try:
            await self._execute(
                "INSERT INTO operators (name, role, password) VALUES (%s, %s, %s)", name, role, hashed
            )
        except UniqueViolation as error:
            raise VendorError(
                "operator_exists",
                _("There is an operator “{name}” already.", name=name),
                _("Choose another name, or set a new password for this operator."),
            ) from error

    async def all(self) -> list[dict[str, Any]]:
        """All: {name, role, created_at, disabled_at, last_used}."""
        rows = await self._rows(
            "SELECT o.name, o.role, o.created_at, o.disabled_at, max(s.used_at) FROM operators o"
            " LEFT JOIN operator_sessions s ON s.operator = o.name GROUP BY o.name ORDER BY o.name"
        )
        return [
            {
                "name": name,
                "role": role,
                "created_at": created.isoformat(timespec="seconds"),
                "disabled_at": disabled.isoformat(timespec="seconds") if disabled is not None else None,
                "last_used": used.isoformat(timespec="seconds") if used is not None else None,
            }
            for name, role, created, disabled, used in rows
        ]

    async def set_password(self, name: str, password: str) -> None:
        """End all sessions of the operator, too, and enable one that was disabled."""
        hashed = await self._hash(password)
        statement = "UPDATE operators SET password = %s, disabled_at = NULL WHERE name = %s"
        if not await self._execute(statement, hashed, name):
            raise unknown_operator(name)
        await self._end_sessions(name)

    async def disable(self, name: str) -> None:
        """Log the operator out, for good. Raises VendorError ``last_admin`` for the only administrator."""
        async with self._database.requests.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                "SELECT name, role FROM operators WHERE disabled_at IS NULL FOR UPDATE"
            )
            active: dict[str, str] = {row[0]: row[1] for row in await cursor.fetchall()}
            if name not in active:
                raise unknown_operator(name)
            if active[name] == "admin" and list(active.values()).count("admin") == 1:
                raise VendorError(
                    "last_admin",
                    _("“{name}” is the only administrator.", name=name),
                    _("Create another administrator first."),
                )
            await connection.execute("UPDATE operators SET disabled_at = now() WHERE name = %s", (name,))
            await connection.execute("DELETE FROM operator_sessions WHERE operator = %s", (name,))

    async def log_in(self, name: str, password: str) -> str | None:
        """The cookie of a new session; None for a wrong name or password, after the same time."""
        rows = await self._rows(
            "SELECT password FROM operators WHERE name = %s AND disabled_at IS NULL", name[:64]
        )
        if not rows:
            if self._nobodys is None:
                self._nobodys = await self._hash(new_password())
            await self._verify(self._nobodys, password)
            return None
        stored = str(rows[0][0])
        if not await self._verify(stored, password):
            return None
        if HASHER.check_needs_rehash(stored):
            statement = "UPDATE operators SET password = %s WHERE name = %s"
            await self._execute(statement, await self._hash(password, checked=True), name)
        secret = secrets.token_urlsafe(32)
        await self._execute(
            "DELETE FROM operator_sessions WHERE used_at < now() - make_interval(mins => %s)"
            " OR begun_at < now() - make_interval(hours => %s)",
            IDLE_MINUTES,
            LONGEST_HOURS,
        )
        statement = "INSERT INTO operator_sessions (digest, operator) VALUES (%s, %s)"
        await self._execute(statement, digest(secret), name)
        return secret

    async def of_session(self, secret: str) -> Operator | None:
        """Who is logged in with that cookie. Nothing is cached: a session that has ended is refused by the
        next request.
        """
        rows = await self._rows(
            "UPDATE operator_sessions s SET used_at = now() FROM operators o"
            " WHERE s.digest = %s AND o.name = s.operator AND o.disabled_at IS NULL"
            " AND s.used_at > now() - make_interval(mins => %s)"
            " AND s.begun_at > now() - make_interval(hours => %s) RETURNING o.name, o.role",
            digest(secret),
            IDLE_MINUTES,
            LONGEST_HOURS,
        )
        return Operator(rows[0][0], cast("Role", rows[0][1])) if rows else None

    async def log_out(self, secret: str) -> None:
        await self._execute("DELETE FROM operator_sessions WHERE digest = %s", digest(secret))

    async def _end_sessions(self, name: str) -> None:
        await self._execute("DELETE FROM operator_sessions WHERE operator = %s", name)

    async def _hash(self, password: str, *, checked: bool = False) -> str:
        if not checked and not SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
            raise VendorError(
                "password_too_short",
                _("The password is too short, or longer than {most} characters.", most=_LONGEST_PASSWORD),
                _("Use at least {least} characters.", least=SHORTEST_PASSWORD),
            )
        async with self._permits:
            return await asyncio.to_thread(HASHER.hash, password)

    async def _verify(self, stored: str, password: str) -> bool:
        if len(password) > _LONGEST_PASSWORD:
            return False
        async with self._permits:
            try:
                return await asyncio.to_thread(HASHER.verify, stored, password)
            except (Argon2Error, InvalidHashError):
                return False

    async def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        async with self._database.requests.connection() as connection:
            return await (await connection.execute(query, values)).fetchall()

    async def _execute(self, statement: str, *values: object) -> int:
        async with self._database.requests.connection() as connection:
            return (await connection.execute(statement, values)).rowcount


def unknown_operator(name: str) -> VendorError:
    return VendorError(
        "unknown_operator",
        _("There is no active operator “{name}”.", name=name),
        _("“payments-hub operators list” shows all operators."),
    )


def _invalid() -> VendorError:
    return VendorError(
        "operator_invalid",
        _("A name has lower-case letters, digits, dots and dashes; the role is support or admin."),
        _("Correct it and try again."),
    )
