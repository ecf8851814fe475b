"""Users and groups made up for a test, so that ACL tests need no rights."""

from __future__ import annotations

import os

from simulator.ubus_broker import Credentials
from simulator.ubus_broker.accounts import PeerSocket

ROOT = Credentials(os.getuid(), os.getgid(), frozenset(), "root", "root")


class People:
    """``next_peer`` is the next client; None is someone the system has no name for."""

    def __init__(self) -> None:
        self.users = {"root": os.getuid(), "stripe-payments": 60001, "other": 60002}
        self.groups = {"payers": 60101}
        self.next_peer: Credentials | None = ROOT

    def person(self, name: str, *groups: str) -> Credentials:
        extra = frozenset(self.groups[group] for group in groups)
        return Credentials(self.users[name], 60999, extra, name, "nogroup")

    def peer(self, sock: PeerSocket) -> Credentials:
        if self.next_peer is None:
            raise KeyError("no such uid")
        return self.next_peer

    def user_id(self, name: str) -> int | None:
        return self.users.get(name)

    def group_id(self, name: str) -> int | None:
        return self.groups.get(name)
