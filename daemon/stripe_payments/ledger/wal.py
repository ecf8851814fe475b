"""Whether SQLite could replay the complete write-ahead log: it stops at the first invalid frame.

That is right after a power cut, which may leave the end of the log in any state. But if the flash returned
other bytes, durable commits lie behind that frame, and the ledger is silently outdated. The two look alike;
so if anything is left over, everything is fetched from Stripe again.

The format: https://sqlite.org/fileformat2.html#the_write_ahead_log
"""

import struct
from pathlib import Path
from typing import Final

__all__ = ["has_unreplayed_frames"]

_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
_MASK: Final = 0xFFFFFFFF


def has_unreplayed_frames(log: Path, replayed: int) -> bool:
    """`replayed`: how many frames SQLite replayed. Frames of an earlier round of the log do not count. Raises
    OSError.
    """
    try:
        content = log.read_bytes()
    except FileNotFoundError:
        return False
    if len(content) <= _HEADER:  # no frame: the header is synced before the first one
        return False
    page = _page_size(content[:_HEADER])
    if page is None:
        return True
    salts, frame = content[16:24], _FRAME_HEADER + page
    frames = range(_HEADER + replayed * frame, len(content) - frame + 1, frame)
    return any(content[at + 8 : at + 16] == salts for at in frames)


def _page_size(header: bytes) -> int | None:
    """None for an invalid header."""
    magic, _version, page = struct.unpack(">3I", header[:12])
    order = _MAGIC.get(magic)
    if order is None:
        return None
    first = second = 0
    words = struct.unpack(f"{order}6I", header[:24])
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = first + even + second & _MASK
        second = second + odd + first & _MASK
    return int(page) if (first, second) == struct.unpack(">2I", header[24:]) else None
