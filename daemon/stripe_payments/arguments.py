"""What a caller gave, read with care: the arguments of a bus method, the members of a JSON body.

Whatever is wrong is said as `invalid_argument` with the argument's name and what was expected of it.
Members that nobody asks for are ignored, so that an older daemon gets along with a newer caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn, overload

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _
from ubus_py import Method, Table

LONGEST_TEXT: Final = 2048

_REQUIRED = _("it is required")
_NO_TEXT = _("it must be a text")
_TOO_LONG = _("it is too long")
_CONTROL = _("it contains characters that are no text")
_NO_INTEGER = _("it must be a whole number")
_NO_FLAG = _("it must be true or false")


class Arguments:
    """Read-only view of what was given; None counts as not given."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given

    @overload
    def text(self, name: str, *, trimmed: bool = ...) -> str | None: ...
    @overload
    def text(self, name: str, *, required: bool) -> str: ...

    def text(self, name: str, *, required: bool = False, trimmed: bool = False) -> str | None:
        """A text without control characters; a required one is not empty either. `trimmed` takes the space
        and line ends around it off first: what is pasted often brings some.
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
        """A whole number within the bounds. `3.0` and `"3"` count as 3: `ubus call` and JavaScript write
        both.
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
                _("it must be from {minimum} to {maximum}", minimum=minimum, maximum=maximum),
            )
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Yes or no. `1`, `"1"` and `"true"` count as yes: a shell writes all of them."""
        value = self._given.get(name)
        if value is None:
            return default
        if value not in (True, False, "1", "0", "true", "false"):
            _refuse(name, _NO_FLAG)
        return value in (True, "1", "true")


class CheckedMethod(Method):
    """A bus method whose handler judges its arguments: ubus_py would answer a wrong type with a bare
    status, and the caller is owed the argument's name.
    """

    __slots__ = ()

    def accept(self, args: Table) -> str | None:
        for name in [name for name, value in args.items() if value is None]:
            del args[name]
        return None


def _is_plain(point: int) -> bool:
    """No control character, and no stray byte (a call whose text was not UTF-8 arrives with surrogates
    for them).
    """
    return (32 <= point < 0xD800 and point != 127) or point > 0xDFFF


def _refuse(name: str, reason: Text) -> NoReturn:
    raise PaymentError("invalid_argument", argument=name, reason=reason)
