"""UCI configuration files: the parser and the writer, with libuci's own quoting.

A configuration ("package") is an ordered list of sections; a section has a type, a name (generated when
anonymous) and ordered options, each a string or a list of strings. Rules from libuci (OpenWrt's uci, file.c
and list.c):

* an option set to the empty string does not exist;
* a second ``config`` statement with the name of an existing section continues that section;
* an anonymous section is called ``cfgXXYYYY``: how many sections were made so far and a hash of its type.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

OptionValue = str | list[str]

_NAME = re.compile(r"[A-Za-z0-9_]+")
_PACKAGE = re.compile(r"[!-~]+")
_TYPE = re.compile(r"[!-~]+")
_BLANKS = " \t\r\v\f"
_SOME_BLANKS = re.compile(rf"[{_BLANKS}]*")
_WORD = re.compile(rf"[^\n{_BLANKS}]*")
_PLAIN = re.compile(rf"[^\n{_BLANKS}'\"#;\\]+")
"""Characters of an argument that mean nothing else."""
_TO_QUOTE = re.compile(r"[^']*")
_TO_DOUBLE_QUOTE = re.compile(r'[^"\\]*')


class UciError(Exception):
    """A configuration or a change that libuci would refuse; ``in_file``: the fault is in what the file
    holds."""

    in_file = False


class UciParseError(UciError):
    """The text of a configuration is malformed; ``line`` counts from 1."""

    in_file = True

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(f"line {line}: {reason}")
        self.reason = reason
        self.line = line


def is_name(text: str) -> bool:
    """Whether ``text`` may name a section or an option (letters, digits, underscore)."""
    return _NAME.fullmatch(text) is not None


def is_type(text: str) -> bool:
    """Whether ``text`` may be a section's type (any visible ASCII)."""
    return _TYPE.fullmatch(text) is not None


def is_package(text: str) -> bool:
    """Whether libuci takes ``text`` for a configuration's name (any visible ASCII, a path too)."""
    return _PACKAGE.fullmatch(text) is not None


def _type_hash(text: str) -> int:
    value = 5381
    for byte in text.encode("utf-8", "surrogateescape"):
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value & 0xFFFF


@dataclass(slots=True)
class Section:
    """One ``config TYPE 'NAME'`` block."""

    name: str
    type: str
    anonymous: bool = False
    options: dict[str, OptionValue] = field(default_factory=dict)


class Package:
    """One configuration, its sections in file order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sections: list[Section] = []
        self._made = 0

    def copy(self) -> Self:
        """One whose changes do not show in this one."""
        copied = type(self)(self.name)
        copied._made = self._made
        for section in self.sections:
            options = {
                name: list(value) if isinstance(value, list) else value
                for name, value in section.options.items()
            }
            copied.sections.append(Section(section.name, section.type, section.anonymous, options))
        return copied

    def section(self, name: str) -> Section | None:
        """The section called ``name``, or None."""
        for section in self.sections:
            if section.name == name:
                return section
        return None

    def find(self, name: str) -> Section | None:
        """Like `section`, but ``@TYPE[INDEX]`` (a negative index counts from the end) works too.

        Raises `UciError` when the extended form itself is malformed.
        """
        if not name.startswith("@"):
            return self.section(name)
        match = re.fullmatch(r"@([^\[]*)\[\s*([+-]?\d+)\]", name)
        if match is None or (match[1] and not is_type(match[1])):
            raise UciError(f"malformed section reference {name!r}")
        candidates = [section for section in self.sections if not match[1] or section.type == match[1]]
        index = int(match[2])
        if index < 0:
            index += len(candidates)
        return candidates[index] if 0 <= index < len(candidates) else None

    def add(self, section_type: str, name: str | None = None) -> Section:
        """Append a section; without a name it is anonymous and gets a generated one."""
        self._made += 1
        if name:
            section = Section(name, section_type)
        else:
            section = Section(
                f"cfg{self._made:02x}{_type_hash(section_type):04x}", section_type, anonymous=True
            )
        self.sections.append(section)
        return section

    def move(self, section: Section, position: int) -> bool:
        """Put ``section`` at ``position`` among the sections; False when it is there already."""
        before = list(self.sections)
        self.sections.remove(section)
        self.sections.insert(max(0, position), section)
        return before != self.sections


class _Lines:
    """A cursor over the text that never crosses a line on its own; quotes may."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1

    @property
    def here(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def step(self) -> str:
        char = self.text[self.at]
        self.at += 1
        if char == "\n":
            self.line += 1
        return char

    def run(self, pattern: re.Pattern[str]) -> str:
        """The text that the pattern matches here."""
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        self.line += match[0].count("\n")
        return match[0]

    def skip_blanks(self) -> None:
        self.run(_SOME_BLANKS)

    def skip_line(self) -> None:
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end

    def error(self, reason: str) -> UciParseError:
        """Of the line that was read; libuci counts none after the last line's end."""
        at_the_end = self.at >= len(self.text) and self.text.endswith("\n")
        return UciParseError(reason, max(1, self.line - at_the_end))

    def at_line_end(self) -> bool:
        return self.here in ("", "\n")

    def word(self) -> str:
        """A command word: unquoted, up to a blank."""
        return self.run(_WORD)

    def argument(self) -> str:
        """The next argument of this statement, "" when there is none (or it is empty)."""
        self.skip_blanks()
        out: list[str] = []
        while not self.at_line_end():
            char = self.here
            if char == "'":
                self._single_quoted(out)
            elif char == '"':
                self._double_quoted(out)
            elif char == "#":
                self.skip_line()
                break
            elif char == ";":
                break
            elif char == "\\":
                self._backslash(out)
            else:
                out.append(self.run(_PLAIN))
            if self.here and self.here in _BLANKS:
                break
        return "".join(out)

    def _single_quoted(self, out: list[str]) -> None:
        self.at += 1
        out.append(self.run(_TO_QUOTE))
        if not self.here:
            raise self.error("EOF with unterminated '")
        self.at += 1

    def _double_quoted(self, out: list[str]) -> None:
        self.at += 1
        while True:
            out.append(self.run(_TO_DOUBLE_QUOTE))
            if not self.here:
                raise self.error('EOF with unterminated "')
            if self.here == '"':
                break
            self._backslash(out)
        self.at += 1

    def _backslash(self, out: list[str]) -> None:
        self.at += 1
        if self.text.startswith("\r\n", self.at):
            self.at += 1
        if self.here == "\n":
            self.step()
        elif self.here:
            out.append(self.step())

    def end_statement(self) -> None:
        if self.argument():
            raise self.error("too many arguments")
        if self.here == ";":
            self.at += 1


def parse(name: str, text: str) -> Package:
    """The configuration ``name`` whose file holds ``text``; raises `UciParseError`."""
    return _parsed(name, text).copy()


@lru_cache(maxsize=32)
def _parsed(name: str, text: str) -> Package:
    """Cached: a router and its tests read the same few files over and over."""
    package = Package(name)
    current: Section | None = None
    lines = _Lines(text)
    while lines.here:
        lines.skip_blanks()
        if lines.at_line_end():
            if lines.here:
                lines.step()
            continue
        command = lines.word()
        if command.startswith("#"):
            lines.skip_line()
        elif command in ("c", "config"):
            current = _config_statement(lines, package)
        elif command in ("o", "option", "l", "list"):
            if current is None:
                raise lines.error("option/list command found before the first section")
            _option_statement(lines, current, is_list=command[0] == "l")
        elif command in ("p", "package"):
            if not is_package(lines.argument()):
                raise lines.error("invalid character in name field")
            lines.end_statement()
        else:
            raise lines.error("invalid command")
    return package


def _config_statement(lines: _Lines, package: Package) -> Section:
    section_type = lines.argument()
    if not section_type:
        raise lines.error("insufficient arguments")
    if not is_type(section_type):
        raise lines.error("invalid character in type field")
    name = lines.argument()
    if name and not is_name(name):
        raise lines.error("invalid character in name field")
    lines.end_statement()
    section = package.section(name) if name else None
    if section is None:
        return package.add(section_type, name)
    if section.type != section_type:
        raise lines.error("section of different type overwrites prior section with same name")
    return section


def _option_statement(lines: _Lines, section: Section, *, is_list: bool) -> None:
    name = lines.argument()
    if not name:
        raise lines.error("insufficient arguments")
    if not is_name(name):
        raise lines.error("invalid character in name field")
    value = lines.argument()
    lines.end_statement()
    if is_list:
        add_to_list(section, name, value)
    elif value:
        section.options[name] = value
    else:
        section.options.pop(name, None)


def add_to_list(section: Section, name: str, value: str) -> None:
    """Append to the list option ``name``; a plain option becomes the list's first item."""
    existing = section.options.get(name)
    if isinstance(existing, list):
        existing.append(value)
    else:
        section.options[name] = [value] if existing is None else [existing, value]


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def dump(package: Package) -> str:
    """The text libuci writes for ``package`` at a commit."""
    out: list[str] = []
    for section in package.sections:
        out.append(
            f"\nconfig {section.type}" + ("" if section.anonymous else f" {_quoted(section.name)}") + "\n"
        )
        for option, value in section.options.items():
            if isinstance(value, str):
                out.append(f"\toption {option} {_quoted(value)}\n")
            else:
                out.extend(f"\tlist {option} {_quoted(item)}\n" for item in value)
    out.append("\n")
    return "".join(out)
