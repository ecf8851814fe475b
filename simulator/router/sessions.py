"""Login sessions and what each may do: the rules of rpcd's session.c, without the bus.

A session holds grants (scope, object pattern, function pattern) and free data. Every use of a session puts
its expiry off by its timeout. The session whose id is all zeros never expires and holds what no client needs
to log in for.
"""

from __future__ import annotations

import fnmatch
import math
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ubus_py import Value

DEFAULT_TIMEOUT_S = 300
ANONYMOUS_ID = "0" * 32
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Grant:
    """``object`` and ``function`` are shell patterns."""

    object: str
    function: str

    def covers(self, name: str, function: str) -> bool:
        """Whether it allows ``function`` of the object called ``name``."""
        return fnmatch.fnmatchcase(name, self.object) and fnmatch.fnmatchcase(function, self.function)


@dataclass(slots=True)
class Session:
    """One session; ``timeout_s`` 0 never expires, ``deadline`` is on the store's clock."""

    id: str
    timeout_s: int
    deadline: float | None = None
    grants: dict[str, list[Grant]] = field(default_factory=dict)
    data: dict[str, Value] = field(default_factory=dict)

    def grant(self, scope: str, name: str, function: str) -> None:
        """Allow ``function`` of ``name`` (both may be patterns); granting twice changes nothing."""
        grants = self.grants.setdefault(scope, [])
        grant = Grant(name, function)
        if grant not in grants:
            grants.append(grant)

    def revoke(self, scope: str, name: str | None = None, function: str | None = None) -> None:
        """Take back one grant exactly as it was given, or the whole scope."""
        grants = self.grants.get(scope)
        if grants is None:
            return
        if name is not None and function is not None:
            grants[:] = [grant for grant in grants if grant != Grant(name, function)]
        else:
            grants.clear()
        if not grants:
            del self.grants[scope]

    def allows(self, scope: str, name: str, function: str) -> bool:
        """Whether some grant covers it."""
        return any(grant.covers(name, function) for grant in self.grants.get(scope, ()))

    def acls(self) -> dict[str, dict[str, list[str]]]:
        """``{scope: {object: [function]}}``, sorted as rpcd lists it: by what precedes the first wildcard."""
        table: dict[str, dict[str, list[str]]] = {}
        for scope in sorted(self.grants):
            objects: dict[str, list[str]] = {}
            for grant in sorted(self.grants[scope], key=lambda grant: _literal(grant.object)):
                objects.setdefault(grant.object, []).append(grant.function)
            table[scope] = objects
        return table


def _literal(pattern: str) -> str:
    return _WILDCARD.split(pattern, maxsplit=1)[0]


class Sessions:
    """All sessions. ``on_destroy`` is called with the id of every one that ends."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, on_destroy: Callable[[str], None] | None = None
    ) -> None:
        self._clock = clock
        self._on_destroy = on_destroy
        self._sessions: dict[str, Session] = {ANONYMOUS_ID: Session(ANONYMOUS_ID, 0)}

    @property
    def anonymous(self) -> Session:
        """What requests without a login may do."""
        return self._sessions[ANONYMOUS_ID]

    def create(self, timeout_s: int = DEFAULT_TIMEOUT_S) -> Session:
        """A new session, with a fresh id of 32 hex digits and no grants."""
        session = Session(secrets.token_hex(16), timeout_s)
        self._sessions[session.id] = session
        self._touch(session)
        return session

    def get(self, session_id: str) -> Session | None:
        """The session, its expiry extended; None when there is none (any more)."""
        self.expire()
        session = self._sessions.get(session_id)
        if session is not None:
            self._touch(session)
        return session

    def allows(self, session_id: str, scope: str, name: str, function: str) -> bool:
        """Whether the session exists and may."""
        session = self.get(session_id)
        return session is not None and session.allows(scope, name, function)

    def destroy(self, session_id: str) -> None:
        """End the session, if it exists."""
        if self._sessions.pop(session_id, None) is not None and self._on_destroy is not None:
            self._on_destroy(session_id)

    def expire(self) -> None:
        """End every session whose time has come."""
        now = self._clock()
        for session in list(self._sessions.values()):
            if session.deadline is not None and session.deadline <= now:
                self.destroy(session.id)

    def remaining_s(self, session: Session) -> int:
        """Whole seconds until it expires unless it is used; 0 for one that does not."""
        if session.deadline is None:
            return 0
        return max(0, math.ceil((session.deadline - self._clock()) * 1000) // 1000)

    def __iter__(self) -> Iterator[Session]:
        self.expire()
        return iter([self._sessions[key] for key in sorted(self._sessions)])

    def _touch(self, session: Session) -> None:
        if session.timeout_s > 0:
            session.deadline = self._clock() + session.timeout_s
