"""Editing one loaded configuration while recording the changes to stage."""

from __future__ import annotations

from simulator.router.uci_changes import Change, ChangeKind
from simulator.router.uci_file import Package, Section, UciError, add_to_list
from ubus_py import Int16, Int64, Value


class NotStorableError(UciError):
    """A value of a kind that no option can hold."""


class UciEditor:
    """Changes ``package`` at once and lists in ``changes`` what libuci would have staged for it."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.changes: list[Change] = []

    def add(self, section_type: str, name: str | None) -> Section:
        """A new section; a named one that exists is kept and gets the type."""
        if name is None:
            section = self.package.add(section_type)
            self.changes.append(Change(ChangeKind.ADD, section.name, None, section_type))
            return section
        existing = self.package.section(name)
        if existing is None or existing.type != section_type:
            self.changes.append(Change(ChangeKind.SET, name, None, section_type))
        if existing is None:
            return self.package.add(section_type, name)
        existing.type = section_type
        return existing

    def set(self, section: Section, option: str, value: str) -> None:
        """Give the option a value; the empty one takes it away. Nothing happens when it has it already."""
        current = section.options.get(option)
        if not value:
            if current is not None:
                self.unset(section, option)
            return
        if current != value:
            section.options[option] = value
            self.changes.append(Change(ChangeKind.SET, section.name, option, value))

    def append(self, section: Section, option: str, value: str) -> None:
        """Add an item to a list."""
        add_to_list(section, option, value)
        self.changes.append(Change(ChangeKind.LIST_ADD, section.name, option, value))

    def replace(self, section: Section, option: str, value: Value) -> None:
        """Give the option this value and no other: a list replaces what was there item by item."""
        if not isinstance(value, list):
            text = as_text(value)
            if isinstance(section.options.get(option), list):
                self.unset(section, option)
            self.set(section, option, text)
            return
        items = [as_text(item) for item in value if _storable(item)]
        if not items:
            raise NotStorableError(f"{option}: a list without items")
        if option in section.options:
            self.unset(section, option)
        for item in items:
            self.append(section, option, item)

    def unset(self, section: Section, option: str) -> None:
        """Take an option away."""
        del section.options[option]
        self.changes.append(Change(ChangeKind.REMOVE, section.name, option))

    def remove(self, section: Section) -> None:
        """Take a section away."""
        self.package.sections.remove(section)
        self.changes.append(Change(ChangeKind.REMOVE, section.name))

    def rename(self, section: Section, option: str | None, new: str) -> None:
        """Call a section, or one of its options, ``new``."""
        self.changes.append(Change(ChangeKind.RENAME, section.name, option, new))
        if option is None:
            section.name = new
            section.anonymous = False
            return
        section.options = {
            (new if name == option else name): value for name, value in section.options.items()
        }

    def move(self, section: Section, position: int) -> None:
        """Put a section at ``position`` among the sections."""
        if self.package.move(section, position):
            self.changes.append(Change(ChangeKind.ORDER, section.name, None, str(position)))


def _storable(value: Value) -> bool:
    return isinstance(value, (str, int))


def as_text(value: Value) -> str:
    """What an option holds for a value from the bus: numbers in decimal (unsigned, as rpcd prints them),
    booleans as 0 or 1.

    Raises `NotStorableError` for everything else.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        wide = isinstance(value, Int64) or not -(1 << 31) <= value < 1 << 31
        bits = 64 if wide else 16 if isinstance(value, Int16) else 32
        return str(int(value) & ((1 << bits) - 1))
    raise NotStorableError(f"cannot be stored: {type(value).__name__}")
