"""A folder of UCI configurations with staged changes: what libuci's context is to rpcd.

`UciStore` reads ``etc/config`` below the root and keeps staged changes in delta files, one folder for
everybody (``tmp/.uci``, shared with a ``uci`` command) and one for each login session. Like libuci it does
not look whether what it writes was written: on a full file system a commit leaves an empty or cut file.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from simulator.router.uci_changes import Change, apply_changes, format_change, parse_changes
from simulator.router.uci_file import Package, UciError, dump, is_package, parse

SESSION_DELTAS = "var/run/rpcd"


class NoSuchConfigError(UciError):
    """There is no such configuration."""


class UciStore:
    """The configurations below ``root`` (a folder that looks like the router's ``/``)."""

    def __init__(self, root: Path) -> None:
        self.config_dir = root / "etc/config"
        self._shared_deltas = root / "tmp/.uci"
        self._session_deltas = root / SESSION_DELTAS
        self.free_flash: int | None = None
        """Bytes that a file below ``etc`` may have, because no more are free; None: as many as it needs."""
        self.read_only_flash = False
        """Whether the file system of ``etc`` is mounted read-only; rpcd replies OK all the same."""
        self.free_tmp: int | None = None
        """The same for a file of staged changes, below ``tmp`` and ``var/run``."""
        self.own_mount = False
        """Whether `etc/config` is a file system of its own: a rename from outside fails (EXDEV)."""
        self.lost_writes: dict[str, int] = {}
        """So many of the next writes of a configuration are undone at once by a parallel commit that has read
        the old file: libuci drops its lock before it renames. Neither writer notices."""

    def configs(self) -> list[str]:
        """The names of the configurations, sorted."""
        if not self.config_dir.is_dir():
            return []
        return sorted(
            entry.name
            for entry in self.config_dir.iterdir()
            if entry.is_file() and "." not in entry.name and is_package(entry.name)
        )

    def exists(self, config: str) -> bool:
        """Whether there is such a configuration."""
        return (self.config_dir / config).is_file()

    def keep_malformed(self, config: str, folder: str) -> None:
        """Copy a malformed configuration to a folder beside that of the configurations."""
        kept = self.config_dir.parent / folder
        kept.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(self.config_dir / config, kept / f"{config}.malformed")

    def delta_dir(self, session: str | None) -> Path:
        """Where changes are staged: by ``session``, or by everybody who has none."""
        if session is None:
            return self._shared_deltas
        if not session.isalnum():
            raise UciError("malformed session id")
        return self._session_deltas / f"uci-{session}"

    def load(self, config: str, session: str | None = None, *, staged: bool = True) -> Package:
        """The configuration with its staged changes applied.

        Raises `NoSuchConfigError`, or another `UciError` when the file is malformed.
        """
        package = self._read(config)
        if staged:
            apply_changes(package, self.staged(config, session))
        return package

    def _read(self, config: str) -> Package:
        if not is_package(config):
            raise UciError(f"malformed name {config!r}")
        if "/" in config or config.startswith("."):  # libuci would follow it out of the folder
            raise NoSuchConfigError(config)
        try:
            return parse(config, _read_text(self.config_dir / config))
        except (FileNotFoundError, IsADirectoryError):
            raise NoSuchConfigError(config) from None

    def staged(self, config: str, session: str | None = None) -> list[Change]:
        """The changes waiting for a commit, oldest first."""
        try:
            return list(parse_changes(config, _read_text(self.delta_dir(session) / config)))
        except FileNotFoundError:
            return []

    def stage(self, config: str, changes: Iterable[Change], session: str | None = None) -> None:
        """Append ``changes`` to those waiting for a commit."""
        lines = [format_change(config, change) for change in changes]
        if not lines:
            return
        folder = self.delta_dir(session)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / config).open("ab") as file:
            file.write(_fitting(_as_bytes("".join(lines)), self.free_tmp))

    def revert(self, config: str, session: str | None = None) -> None:
        """Forget the changes waiting for a commit."""
        self._read(config)
        delta = self.delta_dir(session) / config
        if delta.exists():
            delta.write_bytes(b"")

    def commit(self, config: str, session: str | None = None) -> bool:
        """Write the staged changes into the file, atomically; False when there were none (the file stays as
        it was)."""
        package = self._read(config)
        if not apply_changes(package, self.staged(config, session)):
            return False
        if self.read_only_flash:  # what is staged stays so
            return True
        self.write(package)
        (self.delta_dir(session) / config).write_bytes(b"")
        return True

    def write(self, package: Package) -> None:
        """Replace the configuration's file by as much of the new text as there is room for, with its mode."""
        self._replace(package.name, _fitting(_as_bytes(dump(package)), self.free_flash), self.config_dir)

    def write_all(self, package: Package, copies: Path) -> bool:
        """Replace the configuration's file by a copy that is written in the folder `copies`; where that fails
        leave it as it is and return False.
        """
        text = _as_bytes(dump(package))
        if self.read_only_flash or _fitting(text, self.free_flash) != text or self.free_tmp == 0:
            return False
        copies.mkdir(mode=0o700, exist_ok=True)
        try:
            self._replace(package.name, text, copies)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return False
        finally:
            copies.rmdir()
        return True

    def _replace(self, config: str, text: bytes, folder: Path) -> None:
        target = self.config_dir / config
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o644
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{config}.uci-")
        try:
            with open(handle, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(mode)
            lost = self.lost_writes.get(config, 0)
            overtaken = target.read_bytes() if lost and target.exists() else None
            self._rename(Path(temporary), target)
            if overtaken is not None:
                self.lost_writes[config] = lost - 1
                target.write_bytes(overtaken)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _rename(self, source: Path, target: Path) -> None:
        if self.own_mount and not source.is_relative_to(self.config_dir):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source), None, str(target))
        source.replace(target)

    def forget_session(self, session: str) -> None:
        """Drop everything the session has staged."""
        shutil.rmtree(self.delta_dir(session), ignore_errors=True)

    def forget_all_sessions(self) -> None:
        """Drop what sessions of an earlier run had staged, as rpcd does at its start."""
        for folder in self._session_deltas.glob("uci-*"):
            shutil.rmtree(folder, ignore_errors=True)


def _read_text(path: Path) -> str:
    """The file as it is: bytes that are not UTF-8, and every kind of line end, survive a rewrite."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _fitting(text: bytes, free: int | None) -> bytes:
    return text if free is None else text[:free]
