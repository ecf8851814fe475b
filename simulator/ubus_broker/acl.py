"""ubusd's ACL files (``/usr/share/acl.d/*.json``): what a process that is not root may do on the bus.

    {"user": "NAME" (or "group": "NAME"),
     "publish": ["object"], "access": {"object": {"methods": ["method", "*"]}},
     "subscribe": ["object"], "listen": ["event"], "send": ["event"]}

Every name may end in ``*``. Facts from ubus's ubusd_acl.c: only files of root:root that no other user may
write count; names of users and groups are resolved when the file is loaded, and one that does not exist then
matches no user; entries of the wrong type are passed over; ``inherit`` is read and has no effect.
"""

from __future__ import annotations

import enum
import json
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.ubus_broker.accounts import Accounts, Credentials

log = logging.getLogger(__name__)

_OTHERS_MAY_CHANGE = stat.S_IWOTH | stat.S_IWGRP | stat.S_IXOTH


class Right(enum.Enum):
    """What an ACL entry grants."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    LISTEN = "listen"
    SEND = "send"
    ACCESS = "access"


@dataclass(frozen=True, slots=True)
class Entry:
    """One right of one user or group, over one name or (``partial``) everything that begins with it."""

    right: Right
    name: str
    partial: bool
    user: str | None
    group: str | None
    uid: int | None
    gid: int | None
    methods: frozenset[str] = frozenset()
    extra: dict[str, Any] = field(default_factory=dict)

    def concerns(self, name: str) -> bool:
        """Whether it is about the object or event called ``name``."""
        return name == self.name or (self.partial and name.startswith(self.name))

    def belongs_to(self, peer: Credentials) -> bool:
        """Whether ``peer`` is the user, or of the group, it was written for."""
        if self.uid is not None and peer.uid == self.uid:
            return True
        return self.gid is not None and (peer.gid == self.gid or self.gid in peer.groups)


class AccessList:
    """All ACL files of a folder. ``sequence`` grows with every load."""

    def __init__(self, folder: Path, root_uid: int, accounts: Accounts) -> None:
        self._folder = folder
        self._root_uid = root_uid
        self._accounts = accounts
        self._entries: list[Entry] = []
        self.sequence = 0

    def load(self) -> None:
        """Read the folder again; a file that is refused is logged and grants nothing."""
        self._entries = []
        if self._folder.is_dir():
            for path in sorted(self._folder.glob("[!.]*.json")):
                self._entries.extend(self._read(path))
        self.sequence += 1

    def _read(self, path: Path) -> list[Entry]:
        try:
            about = path.stat()
            if not stat.S_ISREG(about.st_mode):
                return []
            if about.st_uid != self._root_uid or about.st_gid not in (0, os.getgid()):
                log.error("%s has wrong owner", path)
                return []
            if about.st_mode & _OTHERS_MAY_CHANGE:
                log.error("%s has wrong permissions", path)
                return []
            content = json.loads(path.read_bytes())
        except (OSError, ValueError):
            log.error("failed to parse %s", path)
            return []
        if not isinstance(content, dict):
            log.error("failed to parse %s", path)
            return []
        return list(self._entries_of(content))

    def _entries_of(self, content: dict[str, Any]) -> Iterator[Entry]:
        user = group = None
        uid = gid = None
        if isinstance(content.get("user"), str):
            user = content["user"]
            uid = self._accounts.user_id(user)
        elif isinstance(content.get("group"), str):
            group = content["group"]
            gid = self._accounts.group_id(group)
        else:
            return
        access = content.get("access")
        for name, given in access.items() if isinstance(access, dict) else ():
            if not isinstance(given, dict) or not name:
                continue
            methods = _strings(given.get("methods"))
            if not isinstance(given.get("methods"), list) and not given.keys() & {"tags", "acl"}:
                continue
            extra = given["acl"] if isinstance(given.get("acl"), dict) else {}
            yield Entry(Right.ACCESS, *_pattern(name), user, group, uid, gid, frozenset(methods), extra)
        for right in (Right.SUBSCRIBE, Right.PUBLISH, Right.LISTEN, Right.SEND):
            for name in _strings(content.get(right.value)):
                if name:
                    yield Entry(right, *_pattern(name), user, group, uid, gid)

    def allows(self, peer: Credentials, right: Right, name: str | None, method: str = "") -> bool:
        """Whether ``peer`` has ``right`` over ``name`` (for ACCESS: to call ``method``). Root has all of
        them, and none is needed for what has no name."""
        if peer.uid == self._root_uid or name is None:
            return True
        return any(
            entry.right is right
            and entry.concerns(name)
            and entry.belongs_to(peer)
            and (right is not Right.ACCESS or method in entry.methods or "*" in entry.methods)
            for entry in self._entries
        )

    def about(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """The free-form ``acl`` tables written for these objects, as ubusd answers their publisher's
        ``query``."""
        rows: list[dict[str, Any]] = []
        for name in names:
            for entry in sorted(self._entries, key=lambda entry: entry.name):
                if entry.extra and entry.concerns(name):
                    owner = {"user": entry.user} if entry.user else {"group": entry.group}
                    rows.append({"obj": name, **owner, "acl": entry.extra})
        return rows


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _pattern(name: str) -> tuple[str, bool]:
    return (name[:-1], True) if name.endswith("*") else (name, False)
