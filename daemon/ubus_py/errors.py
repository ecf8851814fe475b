"""The errors; the type shows whose fault it is.

    UbusError
    ├── UsageError       ours: a value or a request that cannot be sent
    ├── ProtocolError    the peer's: bytes that break the wire format
    ├── StatusError      an answer: the call was delivered and refused, with a status and maybe a body
    ├── ConnectionLost   neither's: the socket is closed, or there was none
    └── CallTimeout      neither's: no answer in time

Any other exception out of this package is a bug of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Status(IntEnum):
    """The status that ends every ubus request (``enum ubus_msg_status`` in ubus's ``ubusmsg.h``)."""

    OK = 0
    INVALID_COMMAND = 1
    INVALID_ARGUMENT = 2
    METHOD_NOT_FOUND = 3
    NOT_FOUND = 4
    NO_DATA = 5
    PERMISSION_DENIED = 6
    TIMEOUT = 7
    NOT_SUPPORTED = 8
    UNKNOWN_ERROR = 9
    CONNECTION_FAILED = 10
    NO_MEMORY = 11
    PARSE_ERROR = 12
    SYSTEM_ERROR = 13

    @property
    def text(self) -> str:
        """The text the ``ubus`` tool prints for this status, such as ``"Not found"``."""
        return _TEXTS[self]


_TEXTS: dict[int, str] = {
    Status.OK: "Success",
    Status.INVALID_COMMAND: "Invalid command",
    Status.INVALID_ARGUMENT: "Invalid argument",
    Status.METHOD_NOT_FOUND: "Method not found",
    Status.NOT_FOUND: "Not found",
    Status.NO_DATA: "No response",
    Status.PERMISSION_DENIED: "Permission denied",
    Status.TIMEOUT: "Request timed out",
    Status.NOT_SUPPORTED: "Operation not supported",
    Status.UNKNOWN_ERROR: "Unknown error",
    Status.CONNECTION_FAILED: "Connection failed",
    Status.NO_MEMORY: "Out of memory",
    Status.PARSE_ERROR: "Parsing message data failed",
    Status.SYSTEM_ERROR: "System error",
}


def status_text(code: int) -> str:
    """Return the text for a status number, also for one that no released ubus defines."""
    return _TEXTS.get(code) or f"Unknown error: {code}"


class UbusError(Exception):
    """The base of every error this package raises."""


class UsageError(UbusError, ValueError):
    """The caller passed something that cannot be expressed on the wire; it was not sent."""


class ProtocolError(UbusError):
    """The peer sent bytes that break the wire format.

    From ubusd itself (a malformed frame) it ends the connection. In data that another process wrote and
    ubusd only forwarded, it fails that one call: no process on the bus can end our connection.
    """


class StatusError(UbusError):
    """A request that ended with a status other than OK.

    Raised to a caller; raised *by* a method handler it is the answer: the body, where there is one,
    is sent as data before the status.

    :param status: a :class:`Status`, or the bare number.
    :param data: the body received (or sent) with the error, or ``None``.
    """

    def __init__(self, status: Status | int, data: Mapping[str, Any] | None = None, what: str = "") -> None:
        self.code: int = int(status)
        """The number on the wire."""
        self.status: Status = Status(status) if self.code in _TEXTS else Status.UNKNOWN_ERROR
        """The named status; ``UNKNOWN_ERROR`` for a number that has no name."""
        self.data = data
        text = status_text(self.code)
        super().__init__(f"{what}: {text}" if what else text)


class ConnectionLost(UbusError, ConnectionError):  # noqa: N818 - the field says "connection lost"
    """There is no connection to ubusd (any more); whether a pending call was carried out is unknown."""


class CallTimeout(UbusError, TimeoutError):  # noqa: N818 - named like the call it ends
    """No answer came in time; whether the call was carried out is unknown."""
