"""What the daemon logs as an error while it runs in this process: a trace there is a finding."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["Complaints", "listening"]


class Complaints(logging.Handler):
    """Everything logged as an error that has a trace, or that asyncio says of an unawaited task."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] not in ("stripe_payments", "ubus_py", "asyncio"):
            return  # a simulator's
        fields = getattr(record, "journal_fields", {})
        said = " ".join([record.getMessage(), *(f"{name}={value!s:.120}" for name, value in fields.items())])
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            self._found.append(f"{said}: {type(error).__name__}: {error!s:.300} {_place(error)}")
        elif record.name == "asyncio" or "cannot be sent" in said:
            self._found.append(said)

    def taken(self) -> str | None:
        """What came since the last time, as one text; None for nothing."""
        found, self._found = self._found, []
        return "; ".join(dict.fromkeys(found)) or None


def _place(error: BaseException) -> str:
    """The last line of our own code in an exception's trace."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "/daemon/" in file:
            frames.append(f"{file.partition('/daemon/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"({frames[-1]})" if frames else ""


@contextlib.contextmanager
def listening() -> Iterator[Complaints]:
    """Hears everything that is logged meanwhile; nothing of it is printed."""
    complaints = Complaints()
    root = logging.getLogger()
    silent = logging.NullHandler()
    root.addHandler(silent)  # otherwise logging's last resort prints
    root.addHandler(complaints)
    try:
        yield complaints
    finally:
        root.removeHandler(complaints)
        root.removeHandler(silent)
