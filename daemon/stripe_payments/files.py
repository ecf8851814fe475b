"""Small files that survive a power cut: the old content or the new, never a mixture, never an empty file."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["make_private_directory", "set_aside", "sync_directory", "write_durably"]


_KEPT: Final = 2
"""Corrupt files that are kept for an investigation."""

_writing = threading.Lock()
"""Two threads that write the same file would use the same temporary file."""


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: a new file beside it, fsync, rename, fsync of the directory.

    The file is never readable by others, not for a moment. Raises OSError; the old file is untouched then.
    """
    with _writing:
        _replace(path, content)


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        beside.unlink()
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # the umask does not apply
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable (a rename is not until its directory is synced)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_directory(directory: Path) -> None:
    """Create `directory` (and its parents) with mode 0700; restrict the mode of one that is ours."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid == os.geteuid() and found.st_mode & 0o077:
        directory.chmod(0o700)


def set_aside(path: Path) -> Path:
    """Rename a corrupt file to ``NAME.corrupt-<n>`` and return its new path; the oldest beyond two are
    removed.

    The file is kept for an investigation; the flash does not fill with copies.
    """
    prefix = f"{path.name}.corrupt-"
    numbers = sorted(
        int(number)
        for entry in path.parent.iterdir()
        if entry.name.startswith(prefix) and (number := entry.name[len(prefix) :]).isdecimal()
    )
    target = path.with_name(f"{prefix}{numbers[-1] + 1 if numbers else 1}")
    path.rename(target)
    for old in numbers[: max(0, len(numbers) + 1 - _KEPT)]:
        for part in ("", "-wal", "-journal"):
            path.with_name(f"{prefix}{old}{part}").unlink(missing_ok=True)
    sync_directory(path.parent)
    return target
