"""LuCI's "apply with rollback": commit what a session has staged, and undo it unless the browser confirms in
time.

While one is pending, `UciObject` answers commits and reverts with PERMISSION_DENIED, as rpcd's uci.c does.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from simulator.router.sessions import Sessions
from simulator.router.uci_file import UciError
from simulator.router.uci_store import SESSION_DELTAS, UciStore
from ubus_py import Status, StatusError


class Rollback:
    """The one apply that may be pending; ``changed`` is called with the name of each one written."""

    def __init__(
        self, root: Path, store: UciStore, sessions: Sessions, changed: Callable[[str], None]
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._changed = changed
        self._files = root / SESSION_DELTAS / "snapshot-files"
        self._deltas = root / SESSION_DELTAS / "snapshot-delta"
        self._timer: asyncio.TimerHandle | None = None
        self.session: str | None = None

    @property
    def pending(self) -> bool:
        """Whether an apply waits for its confirmation."""
        return self.session is not None

    def apply(self, session: str | None, *, rollback: bool, timeout_s: int) -> None:
        """Commit everything ``session`` has staged; with ``rollback``, for ``timeout_s`` seconds on trial."""
        if self.pending and rollback:
            raise StatusError(Status.PERMISSION_DENIED)
        if session is None:
            raise StatusError(Status.INVALID_ARGUMENT)
        self._drop_snapshot()
        if self.pending:
            return
        folder = self._store.delta_dir(session)
        configs = _delta_names(folder)
        self._check_access(session, configs)
        self._files.mkdir(parents=True, exist_ok=True)
        self._deltas.mkdir(parents=True, exist_ok=True)
        for config in configs:
            if (self._store.config_dir / config).exists():
                shutil.copyfile(self._store.config_dir / config, self._files / config)
            shutil.copyfile(folder / config, self._deltas / config)
            self._commit(config, session)
        if rollback:
            self.session = session
            self._timer = asyncio.get_running_loop().call_later(timeout_s, self._undo)

    def confirm(self, session: str | None) -> None:
        """Keep what was applied."""
        if session is None:
            raise StatusError(Status.INVALID_ARGUMENT)
        self._check_owner(session)
        self._drop_snapshot()
        self._finish()

    def rollback(self, session: str | None) -> None:
        """Undo now."""
        if not self.pending:
            raise StatusError(Status.NO_DATA)
        if session is None:
            raise StatusError(Status.INVALID_ARGUMENT)
        self._check_owner(session)
        self._undo()

    def close(self) -> None:
        """Forget the timer; the files stay as they are."""
        self._finish()

    def _check_owner(self, session: str) -> None:
        if not self.pending:
            raise StatusError(Status.NO_DATA)
        if self.session != session:
            raise StatusError(Status.PERMISSION_DENIED)

    def _check_access(self, session: str, configs: list[str]) -> None:
        if not configs:
            raise StatusError(Status.NO_DATA)
        if not all(self._sessions.allows(session, "uci", config, "write") for config in configs):
            raise StatusError(Status.PERMISSION_DENIED)

    def _commit(self, config: str, session: str | None) -> None:
        with contextlib.suppress(UciError):  # rpcd announces the change all the same
            self._store.commit(config, session)
        self._changed(config)

    def _undo(self) -> None:
        session = self.session
        configs = _delta_names(self._files)
        restore = session is not None and all(
            self._sessions.allows(session, "uci", config, "write") for config in configs
        )
        for config in configs:
            shutil.copyfile(self._files / config, self._store.config_dir / config)
            if restore and session is not None:
                self._store.delta_dir(session).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._deltas / config, self._store.delta_dir(session) / config)
            self._changed(config)
        self._drop_snapshot()
        self._finish()

    def _drop_snapshot(self) -> None:
        shutil.rmtree(self._files, ignore_errors=True)
        shutil.rmtree(self._deltas, ignore_errors=True)

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self.session = None


def _delta_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_file() and not entry.name.startswith(".") and entry.stat().st_size
    )
