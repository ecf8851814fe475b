"""RFC 3339 times (UTC, whole seconds, ``Z``), as the APIs use them, from and to epoch seconds."""

import calendar
import re
import time

__all__ = ["format_time", "parse_time"]

_SHAPE = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})Z")


def format_time(epoch: int) -> str:
    """``1700058600`` becomes ``2023-11-15T14:30:00Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def parse_time(text: str) -> int | None:
    """The epoch seconds of what `format_time` returned; None for any other text."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return None
    try:
        return calendar.timegm(time.strptime(shape.group(1), "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
