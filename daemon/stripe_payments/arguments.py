"""Validation of a caller's input: the arguments of a bus method, the members of a JSON body.

An invalid one raises `invalid_argument` with its name and what was expected. Unknown members are ignored, so
that an older daemon works with a newer caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn, overload

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _

LONGEST_TEXT: Final = 2048

_REQUIRED = _("it is required")
_NO_TEXT = _("it must be a string")
_TOO_LONG = _("it is too long")
_CONTROL = _("it contains control or invalid characters")
_NO_INTEGER = _("it must be an integer")
_NO_FLAG = _("it must be true or false")


class Arguments:
    """Read-only view of the caller's input; None counts as missing."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given

    @overload
    def text(self, name: str, *, trimmed: bool = ...) -> str | None: ...
    @overload
    def text(self, name: str, *, required: bool) -> str: ...

    def text(self, name: str, *, required: bool = False, trimmed: bool = False) -> str | None:
        """Return a text without control characters; a required one is not empty.

        `trimmed`: strip whitespace first, which pasting often adds.
        """
        value = self._given.get(name)
        if trimmed and isinstance(value, str):
            value = value.strip()
        if value is None or (required and value == ""):
            if required:
                _refuse(name, _REQUIRED)
            return None
        if not isinstance(value, str):
            _refuse(name, _NO_TEXT)
        if len(value) > LONGEST_TEXT:
            _refuse(name, _TOO_LONG)
        if not value.isprintable() and any(not _is_plain(ord(char)) for char in value):
            _refuse(name, _CONTROL)
        return value

    def integer(self, name: str, *, minimum: int, maximum: int) -> int | None:
        """Return an integer within the bounds. `3.0` and `"3"` count as 3: JavaScript and `ubus call` send
        them.
        """
        value = self._given.get(name)
        if value is None:
            return None
        if (
            isinstance(value, str)
            and value.isascii()
            and value.removeprefix("-").isdigit()
            and len(value) < 20
        ):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            _refuse(name, _NO_INTEGER)
        if not minimum <= value <= maximum:
            _refuse(
                name,
                _("it must be between {minimum} and {maximum}", minimum=minimum, maximum=maximum),
            )
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean. `1`, `"1"` and `"true"` count as true: shell scripts send all of them."""
        value = self._given.get(name)
        if value is None:
            return default
        if value not in (True, False, "1", "0", "true", "false"):
            _refuse(name, _NO_FLAG)
        return value in (True, "1", "true")


def _is_plain(point: int) -> bool:
    """Whether a code point is neither a control character nor a surrogate (which stands for a byte that was
    not UTF-8).
    """
    return (32 <= point < 0xD800 and point != 127) or point > 0xDFFF


def _refuse(name: str, reason: Text) -> NoReturn:
    raise PaymentError("invalid_argument", argument=name, reason=reason)
