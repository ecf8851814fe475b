"""The ubus object ``session``: rpcd's logins and access checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from simulator.router.logins import find_login, grant_all
from simulator.router.rollback import Rollback
from simulator.router.sessions import ANONYMOUS_ID, DEFAULT_TIMEOUT_S, Session, Sessions
from simulator.router.uci_store import UciStore
from ubus_py import ARRAY, INT32, STRING, TABLE, Call, Int64, Method, Object, Status, StatusError, Value

_SID = {"ubus_rpc_session": STRING}
Reply = dict[str, Value]


class SessionObject:
    """``accounts`` maps the router's system users to their passwords."""

    def __init__(
        self,
        root: Path,
        store: UciStore,
        sessions: Sessions,
        rollback: Rollback,
        accounts: Mapping[str, str],
    ) -> None:
        self._root = root
        self._store = store
        self._sessions = sessions
        self._rollback = rollback
        self._accounts = accounts

    def object(self) -> Object:
        """The object to publish."""
        grants = {**_SID, "scope": STRING, "objects": ARRAY}
        access = {**_SID, "scope": STRING, "object": STRING, "function": STRING}
        login = {"username": STRING, "password": STRING, "timeout": INT32}
        return Object(
            "session",
            [
                Method("create", self._create, {"timeout": INT32}),
                Method("list", self._list, _SID),
                Method("grant", self._grant, grants),
                Method("revoke", self._revoke, grants),
                Method("access", self._access, access),
                Method("set", self._set, {**_SID, "values": TABLE}),
                Method("get", self._get, {**_SID, "keys": ARRAY}),
                Method("unset", self._unset, {**_SID, "keys": ARRAY}),
                Method("destroy", self._destroy, _SID),
                Method("login", self._login, login),
            ],
        )

    async def _create(self, call: Call) -> Reply:
        return self._describe(self._sessions.create(_timeout(call)))

    async def _list(self, call: Call) -> Reply:
        # Without an id rpcd answers with a message for each session; a call here has one answer: the first.
        if "ubus_rpc_session" in call.args:
            return self._describe(self._wanted(call))
        return self._describe(next(iter(self._sessions)))

    async def _login(self, call: Call) -> Reply:
        username, password = call.args.get("username"), call.args.get("password")
        if not isinstance(username, str) or not isinstance(password, str):
            raise StatusError(Status.INVALID_ARGUMENT)
        login = find_login(self._store, self._accounts, username, password)
        if login is None:
            raise StatusError(Status.PERMISSION_DENIED)
        session = self._pending_of(username) or self._sessions.create(_timeout(call))
        grant_all(session, login, self._root)
        session.data["username"] = username
        return self._describe(session)

    def _pending_of(self, username: str) -> Session | None:
        """A client that applied a configuration and lost the connection gets the same session back, to
        confirm it."""
        if self._rollback.session is None:
            return None
        session = self._sessions.get(self._rollback.session)
        return session if session is not None and session.data.get("username") == username else None

    async def _grant(self, call: Call) -> None:
        session = self._wanted(call)
        if "objects" not in call.args:
            raise StatusError(Status.INVALID_ARGUMENT)
        for name, function in _pairs(call):
            session.grant(_scope(call), name, function)

    async def _revoke(self, call: Call) -> None:
        session = self._wanted(call)
        if "objects" not in call.args:
            session.revoke(_scope(call))
        for name, function in _pairs(call):
            session.revoke(_scope(call), name, function)

    async def _access(self, call: Call) -> Reply:
        session = self._wanted(call)
        name, function = call.args.get("object"), call.args.get("function")
        if isinstance(name, str) and isinstance(function, str):
            return {"access": session.allows(_scope(call), name, function)}
        return _acls(session)

    async def _set(self, call: Call) -> None:
        values = call.args.get("values")
        if not isinstance(values, dict) or "ubus_rpc_session" not in call.args:
            raise StatusError(Status.INVALID_ARGUMENT)
        session = self._wanted(call)
        session.data.update((name, value) for name, value in values.items() if name)

    async def _get(self, call: Call) -> Reply:
        session = self._wanted(call)
        keys = call.args.get("keys")
        if not isinstance(keys, list):
            return {"values": _data(session)}
        return {
            "values": {key: session.data[key] for key in keys if isinstance(key, str) and key in session.data}
        }

    async def _unset(self, call: Call) -> None:
        session = self._wanted(call)
        keys = call.args.get("keys")
        if not isinstance(keys, list):
            session.data.clear()
            return
        for key in keys:
            if isinstance(key, str):
                session.data.pop(key, None)

    async def _destroy(self, call: Call) -> None:
        if call.args.get("ubus_rpc_session") == ANONYMOUS_ID:
            raise StatusError(Status.PERMISSION_DENIED)
        self._sessions.destroy(self._wanted(call).id)

    def _wanted(self, call: Call) -> Session:
        session_id = call.args.get("ubus_rpc_session")
        if not isinstance(session_id, str):
            raise StatusError(Status.INVALID_ARGUMENT)
        session = self._sessions.get(session_id)
        if session is None:
            raise StatusError(Status.NOT_FOUND)
        return session

    def _describe(self, session: Session) -> Reply:
        return {
            "ubus_rpc_session": session.id,
            "timeout": session.timeout_s,
            "expires": Int64(self._sessions.remaining_s(session)),
            "acls": _acls(session),
            "data": _data(session),
        }


def _timeout(call: Call) -> int:
    value = call.args.get("timeout", DEFAULT_TIMEOUT_S)
    return value if isinstance(value, int) else DEFAULT_TIMEOUT_S


def _scope(call: Call) -> str:
    scope = call.args.get("scope")
    return scope if isinstance(scope, str) else "ubus"


def _pairs(call: Call) -> list[tuple[str, str]]:
    """The ``[object, function]`` rows of ``objects``; anything else in it is passed over."""
    objects = call.args.get("objects")
    pairs = []
    for row in objects if isinstance(objects, list) else ():
        words = [word for word in row if isinstance(word, str)] if isinstance(row, list) else []
        if len(words) >= 2:
            pairs.append((words[0], words[1]))
    return pairs


def _acls(session: Session) -> Reply:
    return {
        scope: {name: list(functions) for name, functions in objects.items()}
        for scope, objects in session.acls().items()
    }


def _data(session: Session) -> Reply:
    return {name: session.data[name] for name in sorted(session.data)}
