"""Archives that are the same, byte for byte, wherever and whenever they are written.

GNU tar format, as OpenWrt's build system writes it: with Python's default (PAX) opkg garbles a long name and
still exits 0. Everything belongs to root, by number: a name would be of the machine that builds.
"""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Member:
    """One entry: a directory where `content` is None."""

    name: str
    """Relative, without `./`."""
    mode: int
    content: bytes | None = None


def members_of(root: Path) -> list[Member]:
    """Everything below `root`, each directory before what is in it."""
    found = []
    for path in sorted(root.rglob("*")):
        kind = path.lstat().st_mode
        if not (stat.S_ISDIR(kind) or stat.S_ISREG(kind)):
            raise ValueError(f"{path} is neither a file nor a directory")
        content = None if stat.S_ISDIR(kind) else path.read_bytes()
        found.append(Member(path.relative_to(root).as_posix(), stat.S_IMODE(kind), content))
    return found


def tar(members: Iterable[Member], mtime: int, *, with_top: bool = True) -> bytes:
    """A tar file of `members` in the order given; `with_top`: an entry `./` comes first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        if with_top:
            archive.addfile(_entry(Member(".", 0o755), mtime))
        for member in members:
            content = None if member.content is None else io.BytesIO(member.content)
            archive.addfile(_entry(member, mtime), content)
    return buffer.getvalue()


def _entry(member: Member, mtime: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(member.name if member.name == "." else f"./{member.name}")
    entry.mode = member.mode
    entry.mtime = mtime
    if member.content is None:
        entry.type = tarfile.DIRTYPE
    else:
        entry.size = len(member.content)
    return entry


def compress(data: bytes) -> bytes:
    """gzip without a time and a name."""
    return gzip.compress(data, compresslevel=9, mtime=0)
