"""Bytes, damaged the way that finds mistakes in parsers."""

from __future__ import annotations

from random import Random

__all__ = ["mutated"]

_LIMITS = (0, 1, 0x20, 0x7F, 0x80, 0xFF)


def mutated(chance: Random, given: bytes, tokens: tuple[bytes, ...] = ()) -> bytes:
    """`given` with one to eight things changed. `tokens`: words of the format, to be put in."""
    data = bytearray(given)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(8 if tokens else 7):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data[at : at + 1] = bytes([data[at] ^ 1 << chance.randrange(8)]) if at < len(data) else b""
            case 2:
                data[at : at + 1] = bytes([chance.choice(_LIMITS)])
            case 3:
                del data[at : at + chance.randrange(1, 9)]
            case 4:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 5:
                data[at:at] = data[at : at + chance.randrange(1, 64)]
            case 6:
                data[at : at + 4] = chance.randrange(1 << 32).to_bytes(4, "big")
            case _:
                data[at:at] = chance.choice(tokens)
    return bytes(data)
