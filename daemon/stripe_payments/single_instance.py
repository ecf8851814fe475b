"""One daemon per state directory: the directory is locked, so a crashed daemon leaves no stale lock."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from stripe_payments.files import make_private_directory


class AlreadyRunningError(Exception):
    """Another daemon holds the state directory."""


class StateDirectory:
    """`hold` creates it (0700) if it does not exist, and keeps it locked until `release` or the end of the
    process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def hold(self) -> None:
        """Idempotent. Raises `AlreadyRunningError`, or OSError where the directory cannot be made or
        opened.
        """
        if self._descriptor is not None:
            return
        make_private_directory(self.path)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunningError(f"another stripe-payments daemon is using {self.path}") from None
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
