"""Whether the time that a signature's comparison takes shows how much of it was right.

A test cannot assert a time; it asserts how the comparison is made: by `hmac.compare_digest`, over two texts
of the length of a digest, for every signature that is looked at, whether or not one before it was right.
The long form measures as well, and prints.
"""

from __future__ import annotations

import ast
import contextlib
import hmac
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from campaigns.attack.cases import Cases
from stripe_payments.errors import PaymentError
from stripe_payments.stripe_api import sign, verify, webhook_delivery

__all__ = ["timing"]

SECRET = "whsec_thisRoutersOwnSecret"
DAEMON = Path(__file__).parents[2] / "daemon/stripe_payments"
_SECRET_NAMES = frozenset(
    {"signature", "signatures", "expected", "secret", "webhook_secret", "digest", "secret_key"}
)
_MEASURED = 4000


@contextlib.contextmanager
def _recorded() -> Iterator[list[tuple[int, int]]]:
    """The lengths of everything that the module passes to `compare_digest`."""
    lengths: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        lengths.append((len(one), len(other)))
        return real(one, other)

    webhook_delivery.hmac.compare_digest = compare  # type: ignore[attr-defined]
    try:
        yield lengths
    finally:
        webhook_delivery.hmac.compare_digest = real  # type: ignore[attr-defined]


def _compared_otherwise() -> list[str]:
    """Places in the daemon where something secret stands beside `==`, `!=` or `in`."""
    found = []
    for file in (
        *sorted((DAEMON / "http_api").glob("*.py")),
        *sorted((DAEMON / "stripe_api").glob("webhook*.py")),
    ):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Compare) or any(
                isinstance(how, ast.Is | ast.IsNot) for how in node.ops
            ):
                continue
            for side in (node.left, *node.comparators):
                name = (
                    side.id
                    if isinstance(side, ast.Name)
                    else side.attr
                    if isinstance(side, ast.Attribute)
                    else ""
                )
                if name in _SECRET_NAMES:
                    found.append(f"{file.name}:{node.lineno}")
    return found


async def timing(cases: Cases) -> None:
    body, now = b'{"id":"evt_1"}', 1_700_000_000
    right = sign(body, SECRET, now)
    wrong = ["0" * 64, right[:63] + "z", right[:32] + "0" * 32, right[::-1], "é" * 64, "0", "", right + "0"]
    for number, guesses in enumerate(([one] for one in wrong), start=1):
        cases.note(
            _check(body, now, guesses, 1 if len(guesses[0]) == 64 and guesses[0].isascii() else 0),
            f"guess {number}",
        )
    cases.note(_check(body, now, [right], 1), "the right one")
    cases.note(_check(body, now, [right, *wrong[:4]], 5), "the right one first")
    cases.note(_check(body, now, [*wrong[:4], right], 5), "the right one last")
    cases.note(_check(body, now, ["1" * 64] * 40, 16), "forty")
    found = _compared_otherwise()
    cases.note(f"compared otherwise: {found}" if found else None, "the source")
    if cases.seconds_left:
        cases.notes.append(_measured(body, now, right))


def _check(body: bytes, now: int, guesses: list[str], compared: int) -> str | None:
    header = f"t={now}," + ",".join(f"v1={guess}" for guess in guesses)
    with _recorded() as lengths, contextlib.suppress(PaymentError):
        verify(body, header, SECRET, now)
    if len(lengths) != compared:
        return f"{len(lengths)} comparisons instead of {compared}"
    return None if set(lengths) <= {(64, 64)} else f"of lengths {lengths}"


def _measured(body: bytes, now: int, right: str) -> str:
    """Medians, in turns, of guesses that are right up to the first, the middle and the last digit."""
    other = "".join("0" if digit != "0" else "1" for digit in right)
    guesses = {digits: right[:digits] + other[digits:] for digits in (0, 32, 63)}
    taken: dict[int, list[int]] = {digits: [] for digits in guesses}
    for _ in range(_MEASURED):
        for digits, guess in guesses.items():
            header = f"t={now},v1={guess}"
            began = time.perf_counter_ns()
            with contextlib.suppress(PaymentError):
                verify(body, header, SECRET, now)
            taken[digits].append(time.perf_counter_ns() - began)
    medians = {digits: statistics.median(times) for digits, times in taken.items()}
    spread = statistics.median(abs(one - medians[0]) for one in taken[0])
    said = ", ".join(f"{digits} of 64 digits right: {median:,.0f} ns" for digits, median in medians.items())
    return f"timing of a wrong signature, median of {_MEASURED}: {said}; one varies by {spread:,.0f} ns"
