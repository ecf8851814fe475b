"""What was asked of the API, for `GET /_sim/requests` and the dashboard.  Keys appear redacted; bodies have
no secrets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field

from .api_errors import Json

KEPT = 2_000


@dataclass
class LoggedRequest:
    """`at` is the simulator's time (epoch seconds); `error` is Stripe's error object, if any."""

    id: str
    at: int
    method: str
    path: str
    params: Json = field(default_factory=dict)
    key: str = ""
    idempotency_key: str | None = None
    version: str | None = None
    user_agent: str | None = None
    status: int = 0
    duration_ms: float = 0.0
    error: Json | None = None
    fault: str | None = None
    replayed: bool = False


class RequestLog:
    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=KEPT)

    def add(self, entry: LoggedRequest) -> None:
        self._entries.append(entry)

    def clear(self) -> None:
        self._entries.clear()

    def describe(
        self, *, method: str | None = None, path: str | None = None, limit: int | None = None
    ) -> list[Json]:
        """Oldest first."""
        rows = [
            asdict(entry)
            for entry in self._entries
            if method in {None, entry.method} and (path is None or entry.path.startswith(path))
        ]
        return rows[-limit:] if limit else rows
