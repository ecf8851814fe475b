"""Who may log in, and what a login may do: ``config login`` of ``etc/config/rpcd`` and
``usr/share/rpcd/acl.d/*.json``.

An ACL file maps group names to ``read`` and ``write`` permissions; each permission maps scopes (``ubus``,
``uci``, ``file``, ``cgi-io`` …) to objects. ``list read`` and ``list write`` of a login are shell patterns
over group names, ``!`` excludes. Source of the rules: rpcd's session.c.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import fnmatch
import hmac
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.router.sessions import Grant, Session
from simulator.router.uci_file import Section, UciError
from simulator.router.uci_store import UciStore

log = logging.getLogger(__name__)

ACL_DIR = "usr/share/rpcd/acl.d"
#: the group every request has, logged in or not
UNAUTHENTICATED = "unauthenticated"
_SYSTEM_PASSWORD = "$p$"


def find_login(store: UciStore, accounts: Mapping[str, str], username: str, password: str) -> Section | None:
    """The login section these credentials open, or None.

    ``accounts`` maps the router's system users to their passwords: it stands in for ``/etc/shadow``, to which
    a login's ``option password '$p$USER'`` refers.
    """
    for section in logins_of(store, username):
        wanted = section.options.get("password")
        if isinstance(wanted, str) and _password_matches(wanted, password, accounts):
            return section
    return None


def logins_of(store: UciStore, username: str) -> list[Section]:
    """The login sections of that name."""
    try:
        package = store.load("rpcd", staged=False)
    except UciError:
        return []
    return [
        section
        for section in package.sections
        if section.type == "login" and section.options.get("username") == username
    ]


def _password_matches(wanted: str, given: str, accounts: Mapping[str, str]) -> bool:
    if wanted.startswith(_SYSTEM_PASSWORD):
        account = accounts.get(wanted.removeprefix(_SYSTEM_PASSWORD))
        return account is not None and hmac.compare_digest(account.encode(), given.encode())
    hashed = _crypt(given, wanted) if wanted.startswith("$") else given
    return hashed is not None and hmac.compare_digest(hashed.encode(), wanted.encode())


def _crypt(password: str, salt: str) -> str | None:
    """crypt(3): the hashes of a UCI file are made by it, and Python no longer has it."""
    name = ctypes.util.find_library("crypt")
    if name is None:
        return None
    function = ctypes.CDLL(name).crypt
    function.restype = ctypes.c_char_p
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    result: bytes | None = function(password.encode(), salt.encode())
    return None if result is None else result.decode("ascii", "replace")


def permits(login: Section | None, permission: str, group: str) -> bool:
    """Whether ``login`` holds ``permission`` ("read" or "write") of ``group``; None stands for no login at
    all."""
    if login is None:
        return group == UNAUTHENTICATED
    patterns = login.options.get(permission)
    if isinstance(patterns, list):
        excluded = [pattern[1:].lstrip() for pattern in patterns if pattern.startswith("!")]
        if any(pattern and fnmatch.fnmatchcase(group, pattern) for pattern in excluded):
            return False
        if any(fnmatch.fnmatchcase(group, pattern) for pattern in patterns if not pattern.startswith("!")):
            return True
    return permission == "read" and permits(login, "write", group)


def unlimited(store: UciStore, root: Path) -> list[Section]:
    """The logins that may do everything: ``list write '*'``, or a group of every method on the bus."""
    try:
        logins = [section for section in store.load("rpcd", staged=False).sections if section.type == "login"]
    except UciError:
        return []

    def is_unlimited(login: Section) -> bool:
        session = Session("", 0)
        grant_all(session, login, root)
        written = login.options.get("write")
        return (isinstance(written, list) and "*" in written) or Grant("*", "*") in session.grants.get(
            "ubus", []
        )

    return [login for login in logins if is_unlimited(login)]


def grant_all(session: Session, login: Section | None, root: Path) -> None:
    """Give ``session`` everything the ACL files below ``root`` give to ``login``."""
    for path in sorted((root / ACL_DIR).glob("*.json")):
        try:
            groups = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            log.warning("Failed to parse %s: %s", path, error)
            continue
        if not isinstance(groups, dict):
            log.warning("Failed to parse %s: not an object", path)
            continue
        for group, permissions in groups.items():
            if isinstance(permissions, dict):
                _grant_group(session, login, group, permissions)


def _grant_group(session: Session, login: Section | None, group: str, permissions: dict[str, Any]) -> None:
    for permission, scopes in permissions.items():
        if permission not in ("read", "write") or not isinstance(scopes, dict):
            continue
        if not permits(login, permission, group):
            continue
        for scope, objects in scopes.items():
            _grant_scope(session, permission, scope, objects)
            session.grant("access-group", group, permission)


def _grant_scope(session: Session, permission: str, scope: str, objects: object) -> None:
    if isinstance(objects, dict):
        for name, functions in objects.items():
            for function in functions if isinstance(functions, list) else ():
                if isinstance(function, str):
                    session.grant(scope, name, function)
    elif isinstance(objects, list):
        for name in objects:
            if isinstance(name, str):
                session.grant(scope, name, permission)
