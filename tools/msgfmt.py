"""Compile a gettext catalog: ``python3 tools/msgfmt.py IN.po OUT.mo``.

Standard library only: the daemon's package Makefile runs it in OpenWrt's SDK, whose host has Python, but
neither gettext nor Babel. It reads what `python -m tests.luci.texts --write` writes: ``msgid`` and ``msgstr``
with their continuation lines, no context, no plural forms; anything else is an error. A test compares the
result with Babel's.

Format: https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html
"""

import ast
import os
import struct
import sys
import tempfile
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[1]
DAEMON_CATALOG = _REPOSITORY / "daemon/stripe_payments/po/it.po"
HUB_CATALOG = _REPOSITORY / "hub/payments_hub/po/it.po"

_MAGIC = 0x950412DE
_HEADER = struct.Struct("<7I")


def read_po(text: str) -> dict[str, str]:
    """Return the catalog's entries, the header's under the empty string; ValueError for another format."""
    entries: list[dict[str, str]] = []
    keyword = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        quoted = line
        if not line.startswith('"'):
            keyword, _, quoted = line.partition(" ")
            if keyword == "msgid":
                entries.append({"msgid": "", "msgstr": ""})
        if keyword not in ("msgid", "msgstr") or not entries or not quoted.startswith('"'):
            raise ValueError(f"line {number}: {line}")
        entries[-1][keyword] += ast.literal_eval(quoted)
    return {entry["msgid"]: entry["msgstr"] for entry in entries if entry["msgstr"]}


def write_mo(entries: dict[str, str]) -> bytes:
    """Return the compiled catalog, sorted by message as gettext requires, without a hash table."""
    pairs = sorted((key.encode(), value.encode()) for key, value in entries.items())
    tables = _HEADER.size, _HEADER.size + 8 * len(pairs)
    offset = tables[1] + 8 * len(pairs)
    index, texts = [], bytearray()
    for column in (0, 1):
        for pair in pairs:
            index += [len(pair[column]), offset + len(texts)]
            texts += pair[column] + b"\0"
    return (
        _HEADER.pack(_MAGIC, 0, len(pairs), *tables, 0, offset)
        + struct.pack(f"<{len(index)}I", *index)
        + texts
    )


def compile_catalog(source: Path, target: Path) -> None:
    """Compile `source` into `target`, unless that is newer. Processes may do so at the same time."""
    if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
        return
    compiled = write_mo(read_po(source.read_text("utf-8")))
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
        file.write(compiled)
    os.chmod(file.name, 0o644)
    os.replace(file.name, target)


def compile_daemon_catalog() -> None:
    """Compile the daemon's Italian beside its source, for a daemon that runs from the source tree."""
    compile_catalog(DAEMON_CATALOG, DAEMON_CATALOG.with_suffix(".mo"))


def compile_hub_catalog() -> None:
    """Compile the hub's Italian beside its source, for a hub that runs from the source tree."""
    compile_catalog(HUB_CATALOG, HUB_CATALOG.with_suffix(".mo"))


if __name__ == "__main__":
    compile_catalog(Path(sys.argv[1]), Path(sys.argv[2]))
