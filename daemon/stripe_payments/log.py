"""The log: one line per entry in logfmt, which procd hands to logd; no secrets and no control characters.

    log = Log("ledger")
    log.info("opened", path=path, schema=1)      →  level=info part=ledger msg=opened path=/etc/… schema=1

Built on standard logging, so that log records of libraries pass the same redaction. Redaction acts on the
formatted text, tracebacks included: nesting a key in an argument does not bypass it.

logd keeps the first 1024 bytes of a line, so an entry is shorter than that; of an exception it first names
the error, then the place where it was raised, then the callers.
"""

import io
import logging
import re
import sys
import time
import traceback
from typing import IO, Final

__all__ = ["Log", "escape", "redact", "set_up"]

ROOT: Final = "stripe_payments"
LINE_BYTES: Final = 900
"""Of 1024 (LOG_LINE_SIZE in ubox, log/syslog.h), which also hold the time, the service's name and its pid."""
_VALUE_CHARS: Final = (700, 300, 120, 50, 20)  # tried in turn until the line is short enough
_FRAMES: Final = 20

# Stripe's keys: https://docs.stripe.com/keys. Prefix and the last four characters identify it.
_KEY = re.compile(r"\b((?:sk|rk|pk)_(?:test|live|org)_|whsec_)([A-Za-z0-9_+/=-]+)")
_CLIENT_SECRET = re.compile(r"\b((?:pi|seti|cs)_[A-Za-z0-9_]+?_secret_)[A-Za-z0-9]+")
_AUTHORIZATION = re.compile(r"\b(Bearer|Basic)(\s+)[^\s\"',;]+", re.IGNORECASE)
# A LuCI session: its id is a credential.
_SESSION = re.compile(
    r"((?:ubus_rpc_session|stripe_payments_session|sysauth(?:_https?)?)[\"']?\s*[=:]\s*[\"']?)[0-9A-Za-z]+",
    re.IGNORECASE,
)
_LAST: Final = 4
_ENOUGH: Final = 12  # of a shorter secret the last four characters would reveal too much

# C0, DEL, C1, the two Unicode line ends, direction overrides of a terminal, and lone surrogates (bytes that
# were no text); the backslash, or a text could end its own quotation.
_CONTROL = re.compile(
    r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_BARE = re.compile(r"[^\s\"=\\]+")


def redact(text: str) -> str:
    """Return `text` with every key, webhook secret, client secret and session id shortened."""

    def shortened(key: re.Match[str]) -> str:
        prefix, rest = key.groups()
        return f"{prefix}…{rest[-_LAST:]}" if len(rest) >= _ENOUGH else f"{prefix}…"

    text = _KEY.sub(shortened, text)
    text = _CLIENT_SECRET.sub(r"\1…", text)
    text = _AUTHORIZATION.sub(r"\1\2…", text)
    return _SESSION.sub(r"\1…", text)


def escape(text: str) -> str:
    """Return `text` on one line: control characters and line ends escaped (``\\n``, ``\\x1b``), backslashes
    doubled.
    """
    return _CONTROL.sub(lambda found: _NAMED.get(found[0]) or _code(ord(found[0])), text)


def _code(point: int) -> str:
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"


def _value(given: object, longest: int) -> str:
    """Redacted before it is truncated, and truncated before it is quoted: neither half a key nor half an
    escape remains.
    """
    text = redact(given if isinstance(given, str) else _described(given))
    if len(text) > longest:  # the end of a traceback names the error, the beginning the place
        text = f"{text[: longest // 2]} … {text[-(longest // 2) :]}"
    text = escape(text)
    return text if _BARE.fullmatch(text) else '"' + text.replace('"', '\\"') + '"'


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))


def _within(room: int, places: list[str]) -> str:
    """The field `trace` with as many places as fit into `room` bytes; empty if there is room for none."""
    trace = ""
    for count in range(1, len(places) + 1):
        text = "Traceback: " + " < ".join(places[:count])
        longer = f" trace={_value(text, LINE_BYTES)}"
        if len(text) > LINE_BYTES or _size(longer) > room:
            break
        trace = longer
    return trace


def _places(error: BaseException) -> list[str]:
    """Where it was raised, then the callers; of an exception with a cause, the cause's places come last."""
    places: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if cause is not error:
            places.append(f"caused by {_described(cause)}")
        places += [
            f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} {frame.name}"
            for frame in reversed(traceback.extract_tb(cause.__traceback__, -_FRAMES))
        ]
        cause = cause.__cause__ or cause.__context__
    return places


def _described(given: object) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, BaseException):
        return f"{type(given).__name__}: {given}"
    try:
        return str(given)
    except Exception:  # noqa: BLE001 - an entry must not be lost to a broken __str__
        return f"<{type(given).__name__}>"


class _Logfmt(logging.Formatter):
    """`times`: each line begins with the time, RFC 3339 in UTC."""

    def __init__(self, *, times: bool = False) -> None:
        super().__init__()
        self._times = times

    def format(self, record: logging.LogRecord) -> str:
        line = self._line(record)
        if not self._times:
            return line
        return f"time={time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(record.created))} {line}"

    def _line(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "level": record.levelname.lower(),
            "part": record.name.removeprefix(f"{ROOT}."),
            "msg": self._message(record),
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields["error"] = error
        fields |= getattr(record, "journal_fields", {})
        for longest in _VALUE_CHARS:
            line = " ".join(f"{name}={_value(value, longest)}" for name, value in fields.items())
            room = LINE_BYTES - _size(line)
            if room >= 0:
                break
        if error is not None:
            line += _within(room, _places(error))
        return line

    @staticmethod
    def _message(record: logging.LogRecord) -> str:
        try:
            return record.getMessage()
        except Exception:  # noqa: BLE001 - a library's wrong arguments are logged as they are
            return f"{record.msg} {record.args!r}"


class Log:
    """The log of one part of the daemon. Fields are keyword arguments; their values may be anything. One that
    is None is left out.
    """

    def __init__(self, part: str) -> None:
        self._logger = logging.getLogger(f"{ROOT}.{part}")

    def debug(self, message: str, **fields: object) -> None:
        """What happens between two normal events: requests, deliveries, polls."""
        self._write(logging.DEBUG, message, fields, None)

    def info(self, message: str, **fields: object) -> None:
        """A normal event that a user or an administrator notices: one line each."""
        self._write(logging.INFO, message, fields, None)

    def warning(self, message: str, **fields: object) -> None:
        """A failure that is handled."""
        self._write(logging.WARNING, message, fields, None)

    def error(self, message: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """A failure that needs an administrator; with `exc` its traceback is logged."""
        self._write(logging.ERROR, message, fields, exc)

    def _write(self, level: int, message: str, fields: dict[str, object], exc: BaseException | None) -> None:
        if self._logger.isEnabledFor(level):
            present = {name: value for name, value in fields.items() if value is not None}
            self._logger.log(level, "%s", message, exc_info=exc, extra={"journal_fields": present})


def set_up(level: str = "info", stream: IO[str] | None = None, *, times: bool = False) -> None:
    """Send all log records of this process to `stream`, redacted, one line per entry.

    Without a stream, warnings and errors go to stderr and the rest to stdout: procd logs the former as
    ``daemon.err`` and the latter as ``daemon.info``. Replaces what an earlier call set up. `level` is the
    daemon's; libraries log from ``warning`` on. `times`: each line begins with the time, as logd's do.
    """
    for printed in (sys.stdout, sys.stderr):
        if stream is None and isinstance(printed, io.TextIOWrapper):
            printed.reconfigure(encoding="utf-8", errors="backslashreplace")  # whatever the locale
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, _Logfmt):
            root.removeHandler(old)
    errors = logging.StreamHandler(sys.stderr if stream is None else stream)
    handlers = [errors]
    if stream is None:
        informational = logging.StreamHandler(sys.stdout)
        informational.addFilter(lambda record: record.levelno < logging.WARNING)
        errors.setLevel(logging.WARNING)
        handlers.append(informational)
    for handler in handlers:
        handler.setFormatter(_Logfmt(times=times))
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level.upper())
    logging.captureWarnings(True)
