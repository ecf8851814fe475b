"""Staged UCI changes: what ``uci set`` leaves in a delta file until a commit applies it.

One change a line, ``[PREFIX]PACKAGE.SECTION[.OPTION][='VALUE']``; the prefix is the kind. Format and
effects are those of libuci (uci's delta.c and list.c), so that a real ``uci`` command can read what the
simulator stages.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from simulator.router.uci_file import Package, Section, UciError, add_to_list, is_name, is_type


class ChangeKind(enum.Enum):
    """What a change does; the value is its prefix in a delta file."""

    SET = ""
    ADD = "+"
    REMOVE = "-"
    RENAME = "@"
    ORDER = "^"
    LIST_ADD = "|"
    LIST_DEL = "~"


#: the word ``uci changes`` shows over ubus
REPORTED = {
    ChangeKind.SET: "set",
    ChangeKind.ADD: "add",
    ChangeKind.REMOVE: "remove",
    ChangeKind.RENAME: "rename",
    ChangeKind.ORDER: "order",
    ChangeKind.LIST_ADD: "list-add",
    ChangeKind.LIST_DEL: "list-del",
}
#: libuci drops a staged value with one of these when it reads the delta back
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_PREFIXES = {kind.value: kind for kind in ChangeKind if kind.value}


@dataclass(frozen=True, slots=True)
class Change:
    """One staged change of one configuration."""

    kind: ChangeKind
    section: str
    option: str | None = None
    value: str | None = None

    def report(self) -> list[str | int]:
        """The row ``uci changes`` answers for it."""
        row: list[str | int] = [REPORTED[self.kind], self.section]
        if self.option is not None:
            row.append(self.option)
        if self.value is not None:
            row.append(_position(self.value) if self.kind is ChangeKind.ORDER else self.value)
        return row


def format_change(package: str, change: Change) -> str:
    """The delta file line of ``change``, newline included."""
    target = f"{package}.{change.section}" + (f".{change.option}" if change.option is not None else "")
    value = "" if change.value is None else "='" + change.value.replace("'", "'\\''") + "'"
    return f"{change.kind.value}{target}{value}\n"


def parse_changes(package: str, text: str) -> Iterator[Change]:
    """The changes of a delta file; malformed entries and those of other packages are skipped, as libuci
    does."""
    for entry in _entries(text):
        kind = _PREFIXES.get(entry[:1], ChangeKind.SET)
        body = entry if kind is ChangeKind.SET else entry[1:]
        target, has_value, value = body.partition("=")
        parts = target.split(".")
        if not 2 <= len(parts) <= 3 or parts[0] != package or not all(is_name(part) for part in parts[1:]):
            continue
        change = Change(kind, parts[1], parts[2] if len(parts) == 3 else None, value if has_value else None)
        if _complete(change) and not _UNPRINTABLE.search(change.value or ""):
            yield change


def _complete(change: Change) -> bool:
    if change.kind is not ChangeKind.REMOVE and change.value is None:
        return False
    if change.kind in (ChangeKind.LIST_ADD, ChangeKind.LIST_DEL):
        return change.option is not None
    if change.kind is ChangeKind.ORDER:
        return change.option is None
    if change.kind is ChangeKind.RENAME:
        return is_name(change.value or "")
    return True


def _entries(text: str) -> Iterator[str]:
    """The lines of a delta file, unquoted; a quoted value may contain newlines."""
    out: list[str] = []
    quoted = False
    escaped = False
    for char in text:
        if escaped:
            out.append(char)
            escaped = False
        elif char == "'":
            quoted = not quoted
        elif char == "\\" and not quoted:
            escaped = True
        elif char == "\n" and not quoted:
            if out:
                yield "".join(out)
            out = []
        else:
            out.append(char)
    if out and not quoted:
        yield "".join(out)


def apply_changes(package: Package, changes: Iterable[Change]) -> int:
    """Apply what applies and return how many did: one bad line must not lose the others."""
    applied = 0
    for change in changes:
        try:
            apply_change(package, change)
        except UciError:
            continue
        applied += 1
    return applied


def apply_change(package: Package, change: Change) -> None:
    """Apply one change; raises `UciError` when it has no target."""
    section = package.section(change.section)
    value = change.value if change.value is not None else ""
    if change.kind in (ChangeKind.SET, ChangeKind.ADD):
        _set(package, section, change, value)
        return
    if section is None:
        raise UciError(f"no section {change.section}")
    match change.kind:
        case ChangeKind.REMOVE:
            _remove(package, section, change)
        case ChangeKind.RENAME:
            _rename(section, change.option, value)
        case ChangeKind.ORDER:
            package.move(section, _position(value))
        case ChangeKind.LIST_ADD:
            add_to_list(section, _option_of(change), value)
        case ChangeKind.LIST_DEL:
            items = section.options.get(_option_of(change))
            if isinstance(items, list):
                items[:] = [item for item in items if item != value]


def _position(text: str) -> int:
    digits = text.lstrip()
    return int(digits) if digits.isdecimal() else 0


def _option_of(change: Change) -> str:
    if change.option is None:
        raise UciError("the change names no option")
    return change.option


def _set(package: Package, section: Section | None, change: Change, value: str) -> None:
    if change.option is not None:
        if section is None:
            raise UciError(f"no section {change.section}")
        if value:
            section.options[change.option] = value
        else:
            section.options.pop(change.option, None)
        return
    if not value:
        if section is not None:
            package.sections.remove(section)
        return
    if not is_type(value):
        raise UciError(f"invalid section type {value!r}")
    if section is None:
        section = package.add(value, change.section)
        section.anonymous = change.kind is ChangeKind.ADD
    else:
        section.type = value
        if change.kind is ChangeKind.ADD:
            section.anonymous = True


def _remove(package: Package, section: Section, change: Change) -> None:
    if change.option is None:
        package.sections.remove(section)
        return
    if change.option not in section.options:
        raise UciError(f"no option {change.option}")
    items = section.options[change.option]
    if isinstance(items, list) and change.value:
        index = _position(change.value)
        if index < len(items):
            del items[index]
        return
    del section.options[change.option]


def _rename(section: Section, option: str | None, new: str) -> None:
    if option is None:
        section.name = new
        section.anonymous = False
        return
    if option not in section.options:
        raise UciError(f"no option {option}")
    section.options = {(new if name == option else name): value for name, value in section.options.items()}
