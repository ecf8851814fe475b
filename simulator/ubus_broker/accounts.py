"""Who is at the other end of a socket, and what the names in ACL files mean."""

from __future__ import annotations

import grp
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Protocol

_UCRED = struct.Struct("iII")
_SO_PEERGROUPS = 59  # linux/socket.h; Python's socket module has no name for it
_MAX_GROUPS = 64


class PeerSocket(Protocol):
    """As much of a socket as asyncio hands out."""

    def getsockopt(self, level: int, optname: int, buflen: int = ..., /) -> bytes | int: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """A connected process: ids as the kernel vouches for them, names as ubusd passes them on with a call."""

    uid: int
    gid: int
    groups: frozenset[int]
    user: str
    group: str


class Accounts(Protocol):
    """Where the broker learns who is who; tests put their own people here."""

    def peer(self, sock: PeerSocket) -> Credentials:
        """Who connected. Raises LookupError for ids without a name: ubusd turns such clients away."""
        ...

    def user_id(self, name: str) -> int | None:
        """The uid of a user, or None."""
        ...

    def group_id(self, name: str) -> int | None:
        """The gid of a group, or None."""
        ...


class SystemAccounts:
    """The machine's own accounts and SO_PEERCRED."""

    def __init__(self, root_uid: int) -> None:
        self._root_uid = root_uid

    def peer(self, sock: PeerSocket) -> Credentials:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        assert isinstance(raw, bytes)
        _, uid, gid = _UCRED.unpack(raw)
        groups = _extra_groups(sock)
        if uid == self._root_uid:
            return Credentials(uid, gid, groups, "root", "root")
        return Credentials(uid, gid, groups, pwd.getpwuid(uid).pw_name, grp.getgrgid(gid).gr_name)

    def user_id(self, name: str) -> int | None:
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            return None

    def group_id(self, name: str) -> int | None:
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None


def _extra_groups(sock: PeerSocket) -> frozenset[int]:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MAX_GROUPS)
    except OSError:
        return frozenset()
    assert isinstance(raw, bytes)
    return frozenset(gid for (gid,) in struct.iter_unpack("I", raw[: len(raw) // 4 * 4]))
