"""Why webhook deliveries were refused: for diagnostics, in memory only (anyone can send bad signatures, and
flash wears out).
"""

from __future__ import annotations


class RefusedWebhooks:
    """`code`: why the last one was refused (an error code of ours); `at`: when, trusted epoch seconds, None
    while the time is not known; `count`: since the last one that was accepted.
    """

    def __init__(self) -> None:
        self.code = ""
        self.at: int | None = None
        self.count = 0

    def record(self, code: str, now: int | None) -> None:
        self.code, self.at, self.count = code, now, self.count + 1

    def clear(self) -> None:
        """A delivery was accepted."""
        self.code, self.at, self.count = "", None, 0
