"""LuCI's compiled catalogs: `python -m tools.ipk.lmo IN.po OUT.lmo`.

An `.lmo` file holds the translations one after another, each padded to four bytes; then an index of four
big-endian 32-bit numbers an entry (hash of the key, number of plural forms, offset, length), sorted by the
first; then the index's offset. The key of a text is a hash of its English (context first, separated by
U+0001; plural form last, separated by U+0002); key 0 is the rule for plurals. Source: LuCI's `po2lmo`, with
which a test compares the bytes.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

_MASK: Final = 0xFFFFFFFF
_ENTRY: Final = struct.Struct(">IIII")


@dataclass(frozen=True)
class Entry:
    """One translation, or the rule for plurals (key 0)."""

    key: int
    plural_forms: int
    text: str


def key_hash(text: str) -> int:
    """Hash a key as LuCI's catalogs do: SuperFastHash (Paul Hsieh) over UTF-8, seeded with the length."""
    data = text.encode("utf-8")
    value = len(data)
    whole = len(data) & ~3

    def half(at: int) -> int:
        return data[at] | data[at + 1] << 8

    def signed(at: int) -> int:
        return data[at] - 256 if data[at] > 127 else data[at]

    for at in range(0, whole, 4):
        value = (value + half(at)) & _MASK
        value = ((value << 16) ^ (half(at + 2) << 11) ^ value) & _MASK
        value = (value + (value >> 11)) & _MASK
    match len(data) & 3:
        case 3:
            value = (value + half(whole)) & _MASK
            value = (value ^ value << 16) & _MASK
            value = (value ^ signed(whole + 2) << 18) & _MASK
            value = (value + (value >> 11)) & _MASK
        case 2:
            value = (value + half(whole)) & _MASK
            value = (value ^ value << 11) & _MASK
            value = (value + (value >> 17)) & _MASK
        case 1:
            value = (value + signed(whole)) & _MASK
            value = (value ^ value << 10) & _MASK
            value = (value + (value >> 1)) & _MASK
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value = (value ^ value << left) & _MASK
        value = (value + (value >> right)) & _MASK
    return value


def entries_of(catalog: Catalog) -> list[Entry]:
    """What a PO file translates, in its order. A text that is its own translation needs no entry."""
    entries = [Entry(0, 0, f"nplurals={catalog.num_plurals}; plural={catalog.plural_expr};")]
    for message in catalog:
        if not message.id or message.fuzzy:
            continue
        context = f"{message.context}\x01" if message.context else ""
        if isinstance(message.id, (tuple, list)):
            forms = {f"{context}{message.id[0]}\x02{form}": text for form, text in enumerate(message.string)}
        else:
            forms = {context + message.id: str(message.string)}
        for key, text in forms.items():
            if text and key_hash(key) != key_hash(text):
                entries.append(Entry(key_hash(key), len(forms), text))
    return entries


def encode(entries: list[Entry]) -> bytes:
    """The bytes of an `.lmo` file."""
    texts = bytearray()
    index = []
    for entry in entries:
        text = entry.text.encode("utf-8")
        index.append((entry.key, entry.plural_forms, len(texts), len(text)))
        texts += text + bytes(-len(text) % 4)
    records = b"".join(_ENTRY.pack(*record) for record in sorted(index))
    return bytes(texts) + records + struct.pack(">I", len(texts))


def decode(data: bytes) -> dict[int, str]:
    """The texts of an `.lmo` file by key. Raises ValueError where it is none."""
    try:
        (start,) = struct.unpack(">I", data[-4:])
        if start > len(data) - 4:
            raise ValueError("no catalog of LuCI: its index lies behind its end")
        records = _ENTRY.iter_unpack(data[start : len(data) - 4])
        return {key: data[at : at + length].decode("utf-8") for key, _, at, length in records}
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"no catalog of LuCI: {error}") from error


def compile_po(source: Path) -> bytes:
    """The compiled catalog of a PO file."""
    with source.open("rb") as file:
        return encode(entries_of(read_po(file, locale=source.parent.name)))


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(compile_po(Path(sys.argv[1])))
